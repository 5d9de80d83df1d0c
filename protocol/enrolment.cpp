// SPDX-License-Identifier: Apache-2.0
#include "protocol/enrolment.hpp"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

#include "protocol/check.hpp"
#include "protocol/frame_writer.hpp"
#include "protocol/message_reader.hpp"
#include "protocol/message_writer.hpp"
#include "protocol/messages.hpp"

namespace culvert::protocol {
namespace {

using Binary = std::span<const std::byte>;

/// More than the keys, the numbers and the sizes of a message take, so that a writer's vector never grows: the memory
/// that it grew out of would keep a secret.
constexpr std::size_t keys_and_numbers = 128;

std::vector<std::byte> owned(Binary bytes) {
  return {bytes.begin(), bytes.end()};
}

/// Ids go into logs, and into names of files and objects.
bool is_token_id(std::string_view id) {
  constexpr auto is_allowed = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  };
  return !id.empty() && std::ranges::all_of(id, is_allowed);
}

bool has_valid_sizes(const Issued& message) {
  const auto fits = [](Binary bytes) { return !bytes.empty() && bytes.size() <= certificates_bytes_max; };
  return fits(message.chain) && fits(message.authorities) && message.lifetime >= std::chrono::seconds(1) &&
         message.lifetime <= std::chrono::seconds(certificate_lifetime_s_max);
}

std::vector<std::byte> whole_frame(FrameType type, Binary payload) {
  std::vector<std::byte> frame(frame_header_bytes + payload.size());
  (void)write_frame(frame, type, 0, payload);
  return frame;
}

}  // namespace

TokenSecret::~TokenSecret() {
  explicit_bzero(data(), size());
}

std::vector<std::byte> encode(const Join& message) {
  return MessageWriter(4, keys_and_numbers + message.token.size() + message.secret.size() + message.software.size() +
                              message.request.size())
      .put("token", std::string_view(message.token))
      .put("secret", Binary(message.secret))
      .put("software", std::string_view(message.software))
      .put("request", Binary(message.request))
      .take();
}

std::expected<Join, Reason> decode_join(std::span<const std::byte> payload) {
  auto reader = MessageReader::read(payload);
  if (!reader) return std::unexpected(reader.error());
  Join message;
  message.token = reader->string("token", token_id_bytes_max);
  const Binary secret = reader->binary("secret", token_secret_bytes);
  message.software = reader->string("software", name_bytes_max, "");
  message.request = owned(reader->binary_up_to("request", certificate_request_bytes_max));
  if (reader->bad() || message.request.empty() || !is_token_id(message.token)) {
    return std::unexpected(Reason::protocol);
  }
  std::ranges::copy(secret, message.secret.begin());
  return message;
}

std::vector<std::byte> encode(const Renew& message) {
  const bool is_late = !message.certificate.empty();
  MessageWriter writer(is_late ? 3 : 1, keys_and_numbers + message.request.size() + message.certificate.size() +
                                            message.signature.size());
  writer.put("request", Binary(message.request));
  if (is_late) writer.put("certificate", Binary(message.certificate)).put("signature", Binary(message.signature));
  return writer.take();
}

std::expected<Renew, Reason> decode_renew(std::span<const std::byte> payload) {
  auto reader = MessageReader::read(payload);
  if (!reader) return std::unexpected(reader.error());
  Renew message{
      .request = owned(reader->binary_up_to("request", certificate_request_bytes_max)),
      .certificate = owned(reader->binary_up_to("certificate", certificate_bytes_max)),
      .signature = owned(reader->binary_up_to("signature", signature_bytes_max)),
  };
  // A certificate without its signature proves nothing, and the reverse.
  const bool is_half = message.certificate.empty() != message.signature.empty();
  if (reader->bad() || message.request.empty() || is_half) return std::unexpected(Reason::protocol);
  return message;
}

std::vector<std::byte> encode(const Issued& message) {
  return MessageWriter(3, keys_and_numbers + message.chain.size() + message.authorities.size())
      .put("chain", Binary(message.chain))
      .put("authorities", Binary(message.authorities))
      .put("lifetime_s", static_cast<std::uint64_t>(message.lifetime.count()))
      .take();
}

std::expected<Issued, Reason> decode_issued(std::span<const std::byte> payload) {
  auto reader = MessageReader::read(payload);
  if (!reader) return std::unexpected(reader.error());
  Issued message{
      .chain = owned(reader->binary_up_to("chain", certificates_bytes_max)),
      .authorities = owned(reader->binary_up_to("authorities", certificates_bytes_max)),
      .lifetime = std::chrono::seconds(reader->number("lifetime_s", certificate_lifetime_s_max)),
  };
  if (reader->bad() || !has_valid_sizes(message)) return std::unexpected(Reason::protocol);
  return message;
}

std::vector<std::byte> encode(const Denied& message) {
  return MessageWriter(3)
      .put("reason", std::uint64_t{std::to_underlying(message.reason)})
      .put("retry", message.retryable)
      .put("text", std::string_view(sendable(message.text)))
      .take();
}

std::expected<Denied, Reason> decode_denied(std::span<const std::byte> payload) {
  auto reader = MessageReader::read(payload);
  if (!reader) return std::unexpected(reader.error());
  Denied message{
      .reason = reason_of(reader->number("reason", UINT32_MAX)).value_or(Reason::internal),
      .retryable = reader->boolean("retry", false),
      .text = std::string(reader->string("text", text_bytes_max, "")),
  };
  if (reader->bad()) return std::unexpected(Reason::protocol);
  return message;
}

std::vector<std::byte> join_frame(const Join& message) {
  std::vector<std::byte> payload = encode(message);
  std::vector<std::byte> frame = whole_frame(FrameType::join, payload);
  explicit_bzero(payload.data(), payload.size());
  return frame;
}

std::vector<std::byte> renew_frame(const Renew& message) {
  return whole_frame(FrameType::renew, encode(message));
}

std::vector<std::byte> answer_frame(const Enrolled& message) {
  if (const auto* denied = std::get_if<Denied>(&message)) return whole_frame(FrameType::denied, encode(*denied));
  const auto& issued = std::get<Issued>(message);
  if (has_valid_sizes(issued)) return whole_frame(FrameType::issued, encode(issued));
  return whole_frame(FrameType::denied,
                     encode(Denied{Reason::enrolment_unavailable, false,
                                   "the certificates of the server's authority are too long to be sent"}));
}

std::expected<std::optional<Enrolled>, Reason> AnswerReader::feed(std::span<const std::byte> bytes) {
  check(!done_, "nothing is fed after the answer");
  reader_.feed(bytes);
  const auto next = reader_.next();
  done_ = true;
  // First, since only uncut input may show what comes after a skipped frame.
  if (reader_.skipped() > 0) return std::unexpected(Reason::protocol);
  if (!next) return std::unexpected(next.error());
  const std::optional<FrameReader::Part>& part = *next;
  if (part) return read(*part);
  done_ = false;
  return std::nullopt;
}

std::expected<Enrolled, Reason> AnswerReader::read(const FrameReader::Part& part) {
  if (part.header.type == FrameType::issued) return decode_issued(part.payload);
  if (part.header.type == FrameType::denied) return decode_denied(part.payload);
  if (part.header.type != FrameType::goaway) return std::unexpected(Reason::protocol);
  const auto goaway = decode_goaway(part.payload);
  const bool is_final = goaway && goaway->kind == Goaway::Kind::final;
  // That nothing is wrong is no reason to give no answer.
  if (!is_final || goaway->reason == Reason::none) return std::unexpected(Reason::protocol);
  return std::unexpected(goaway->reason);
}

}  // namespace culvert::protocol
