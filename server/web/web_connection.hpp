// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include "common/http/body_reader.hpp"
#include "common/http/head.hpp"
#include "common/net/dialer.hpp"
#include "common/net/send_buffer.hpp"
#include "common/tls/tls_context.hpp"
#include "common/tls/tls_engine.hpp"

namespace culvert::server {

/// A client's connection to a web server, for requests of the server itself: keys of an issuer, objects of Kubernetes.
/// HTTP/1.1, one request after the other; not for the data path. Errors of every call: "tls.*", "fetch.broken_off",
/// "fetch.timed_out", "fetch.malformed"; after an error the connection cannot be used any more. Every call throws
/// operation_aborted when it is stopped.
class WebConnection {
 public:
  /// `tls` must be there for https://, and only for it. Errors: also the Dialer's.
  static boost::asio::awaitable<Result<std::unique_ptr<WebConnection>>> open(Dialer& dialer, DialTarget target,
                                                                             const TlsContext* tls, Deadline deadline);

  /// The same over a socket that leads there already.
  static boost::asio::awaitable<Result<std::unique_ptr<WebConnection>>> begin(UniqueFd fd, std::string host,
                                                                              const TlsContext* tls, Deadline deadline);

  /// Sends the request, whose framing has the length of `body`, and reads the head of the answer.
  boost::asio::awaitable<Result<http::ResponseHead>> ask(const http::RequestHead& request, std::string_view body,
                                                         Deadline deadline);
  /// Returns the next bytes of the answer's body, as soon as there are any; an empty text is the end.
  boost::asio::awaitable<Result<std::string>> read_some(Deadline deadline);
  /// Returns the rest of the answer's body. Also code "fetch.too_large".
  boost::asio::awaitable<Result<std::string>> read_all(std::size_t bytes_max, Deadline deadline);
  /// The last answer is complete and the server keeps the connection open.
  bool may_ask_again() const { return reusable_; }

 private:
  explicit WebConnection(const boost::asio::any_io_executor& executor) : socket_(executor), timer_(executor) {}
  boost::asio::awaitable<Result<void>> send(std::string_view text, Deadline deadline);
  boost::asio::awaitable<Result<bool>> receive(Deadline deadline);

  boost::asio::posix::stream_descriptor socket_;
  boost::asio::steady_timer timer_;
  std::unique_ptr<TlsEngine> engine_;
  SendBuffer sealed_{4 << 10};
  std::vector<std::byte> received_ = std::vector<std::byte>(16 << 10);
  std::vector<std::byte> early_;                    ///< With TLS: ciphertext that came with the handshake.
  std::string text_;                                ///< Received and not read yet.
  http::BodyReader body_{http::Transfer::none, 0};  ///< The last answer's.
  bool keeps_ = false;
  bool reusable_ = true;
};

}  // namespace culvert::server
