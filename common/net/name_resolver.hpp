// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/address.hpp>

#include "common/base/error.hpp"
#include "common/net/deadline.hpp"

namespace culvert {

using Addresses = std::vector<boost::asio::ip::address>;

/// Asks the system once, off the event loop, and calls `done` later on the executor of the NameResolver. Tests put
/// their own answers here.
using NameLookup =
    std::function<void(const std::string& host, std::function<void(boost::system::error_code, Addresses)> done)>;

/// Names to addresses for one worker. While DNS fails, what a name meant within the last 5 minutes is still used.
/// Several who ask for one name at the same time share one question, so that a dead DNS server holds up one question
/// per name, not one per stream.
class NameResolver {
 public:
  /// Without `lookup` the system's resolver is asked.
  explicit NameResolver(boost::asio::any_io_executor executor, NameLookup lookup = {});
  NameResolver(const NameResolver&) = delete;
  NameResolver& operator=(const NameResolver&) = delete;
  ~NameResolver();

  /// The addresses of a name (not of a literal) in the system's order of preference, never none; waits until
  /// `deadline`, and for 5 s at most. Errors: "dial.name_not_found" (DNS says so), "dial.dns_failed" (it does not
  /// answer, or has none to give, and nothing is remembered).
  boost::asio::awaitable<Result<Addresses>> resolve(std::string host, Deadline deadline);

 private:
  struct Question;
  struct Memory;
  boost::asio::awaitable<void> wait_for(std::shared_ptr<Question> question, Deadline deadline);
  std::shared_ptr<Question> ask(const std::string& host);

  boost::asio::any_io_executor executor_;
  NameLookup lookup_;
  std::shared_ptr<Memory> memory_;
};

}  // namespace culvert
