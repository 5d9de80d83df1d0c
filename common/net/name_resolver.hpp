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

/// Looks up `host` once, off the event loop, and calls `done` later on the executor of the NameResolver. Tests pass
/// their own.
using NameLookup =
    std::function<void(const std::string& host, std::function<void(boost::system::error_code, Addresses)> done)>;

/// Resolves names for one worker. While DNS fails, addresses that are at most 5 minutes old are still used.
/// Simultaneous requests for one name share one lookup, so that with a dead DNS server one lookup per name waits, not
/// one per stream.
class NameResolver {
 public:
  /// Without `lookup` it uses the system's resolver.
  explicit NameResolver(boost::asio::any_io_executor executor, NameLookup lookup = {});
  NameResolver(const NameResolver&) = delete;
  NameResolver& operator=(const NameResolver&) = delete;
  ~NameResolver();

  /// Returns the addresses of a name (not of a literal) in the system's order of preference, at least one. Waits until
  /// `deadline`, and at most 5 s. Errors: "dial.name_not_found" (DNS reports so), "dial.dns_failed" (DNS does not
  /// answer or fails, and no address is remembered).
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
