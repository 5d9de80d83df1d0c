// SPDX-License-Identifier: Apache-2.0
#include "common/enrolment/join_token.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>  // explicit_bzero
#include <optional>
#include <span>
#include <utility>

#include <boost/json/monotonic_resource.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include "common/base/base64url.hpp"
#include "common/tls/peer_identity.hpp"

namespace culvert {
namespace {

namespace json = boost::json;

constexpr std::string_view family = "culvert-join-";
constexpr std::string_view version = "1";
constexpr std::string_view blanks = " \t\r\n";
constexpr std::string_view scheme = "spiffe://";
constexpr std::size_t addresses_max = 8;
constexpr std::size_t text_bytes_max = 8'192;
constexpr std::size_t identity_bytes_max = 2'048;  // The SPIFFE standard's own limit.
constexpr std::size_t depth_max = 2;

/// A text that contains the secret; the destructor wipes it.
class WipedText {
 public:
  explicit WipedText(std::string text) : text_(std::move(text)) {}
  WipedText(const WipedText&) = delete;
  WipedText& operator=(const WipedText&) = delete;
  ~WipedText() { ::explicit_bzero(text_.data(), text_.capacity()); }
  [[nodiscard]] const std::string& get() const { return text_; }

 private:
  std::string text_;
};

/// Memory for a JSON value that contains the secret; the destructor wipes it.
class WipedMemory {
 public:
  WipedMemory() : resource_(buffer_.data(), buffer_.size()) {}
  WipedMemory(const WipedMemory&) = delete;
  WipedMemory& operator=(const WipedMemory&) = delete;
  ~WipedMemory() { ::explicit_bzero(buffer_.data(), buffer_.size()); }
  json::storage_ptr storage() { return &resource_; }

 private:
  std::array<unsigned char, 4 * text_bytes_max> buffer_{};
  json::monotonic_resource resource_;  ///< Beyond the buffer it takes from the heap: a text of the largest size fits.
};

template <std::size_t size>
std::string_view view_of(const std::array<std::byte, size>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::unexpected<Error> malformed(std::string text) {
  return fail("token.malformed", std::move(text));
}

std::unexpected<Error> damaged() {
  return malformed(fmt::format("the join token is damaged or cut off; copy the whole line, which begins with {}{}.",
                               family, version));
}

/// nullptr if it is missing, or is not a text.
const json::string* text_at(const json::object& object, std::string_view key) {
  const json::value* const value = object.if_contains(key);
  return value != nullptr ? value->if_string() : nullptr;
}

template <std::size_t size>
bool read_bytes(const json::object& object, std::string_view key, std::array<std::byte, size>& bytes) {
  const json::string* const text = text_at(object, key);
  auto decoded = text != nullptr ? decode_base64url(*text) : std::nullopt;
  if (!decoded) return false;
  const WipedText wiped(std::move(*decoded));
  if (wiped.get().size() != size) return false;
  std::memcpy(bytes.data(), wiped.get().data(), size);
  return true;
}

bool is_identity(std::string_view text) {
  if (!text.starts_with(scheme) || text.size() > identity_bytes_max) return false;
  text.remove_prefix(scheme.size());
  while (true) {
    const std::size_t slash = text.find('/');
    if (!is_identity_segment(text.substr(0, slash))) return false;
    if (slash == text.npos) return true;
    text.remove_prefix(slash + 1);
  }
}

/// Empty, or a host in its one spelling.
bool is_name(std::string_view text) {
  return text.empty() || parse_host(text).value_or("") == text;
}

bool read_names(const json::object& object, JoinToken& token) {
  const json::string* const name = text_at(object, "n");
  const json::string* const id = text_at(object, "i");
  const json::string* const identity = text_at(object, "u");
  if (name == nullptr || id == nullptr || identity == nullptr) return false;
  token.server_name = std::string(*name);
  token.id = std::string(*id);
  token.identity = std::string(*identity);
  return is_name(token.server_name) && is_identity_segment(token.id) &&
         token.id.size() <= protocol::token_id_bytes_max && is_identity(token.identity);
}

Result<std::vector<Endpoint>> read_addresses(const json::object& object) {
  const json::value* const value = object.if_contains("a");
  const json::array* const list = value != nullptr ? value->if_array() : nullptr;
  if (list == nullptr || list->empty()) return damaged();
  if (list->size() > addresses_max)
    return malformed(fmt::format("the join token has {} addresses; {} are allowed", list->size(), addresses_max));
  std::vector<Endpoint> addresses;
  for (const json::value& each : *list) {
    const json::string* const text = each.if_string();
    Result<Endpoint> address = text != nullptr ? parse_endpoint(*text) : damaged();
    if (!address) return damaged();  // The error of the address would quote it.
    addresses.push_back(std::move(*address));
  }
  return addresses;
}

Result<JoinToken> read_inside(const json::object& object) {
  JoinToken token;
  Result<std::vector<Endpoint>> addresses = read_addresses(object);
  if (!addresses) return std::unexpected(std::move(addresses.error()));
  token.addresses = std::move(*addresses);
  if (!read_names(object, token) || !read_bytes(object, "p", token.pin) || !read_bytes(object, "s", token.secret))
    return damaged();
  return token;
}

/// The part behind "culvert-join-1.".
Result<std::string_view> strip(std::string_view text) {
  const std::size_t first = text.find_first_not_of(blanks);
  if (first == text.npos) return malformed("the join token is empty");
  text = text.substr(first, text.find_last_not_of(blanks) - first + 1);
  if (text.size() > text_bytes_max) return malformed("the join token is too long; is it the right text?");
  const std::size_t dot = text.find('.');
  if (!text.starts_with(family) || dot == text.npos)
    return malformed(fmt::format("this is not a join token, which begins with {}{}.", family, version));
  const std::string_view number = text.substr(family.size(), dot - family.size());
  const bool is_number = !number.empty() && number.find_first_not_of("0123456789") == number.npos;
  if (is_number && number != version && number != "0")
    return malformed("this join token is for a newer version of Culvert; update culvert-agent");
  if (number != version) return damaged();
  text.remove_prefix(dot + 1);
  if (text.find_first_of(blanks) != text.npos)
    return malformed("the join token has blanks or line breaks inside; copy it as one line");
  return text;
}

}  // namespace

std::string to_text(const JoinToken& token) {
  WipedMemory memory;
  json::object object(memory.storage());
  json::array addresses(memory.storage());
  for (const Endpoint& address : token.addresses) addresses.emplace_back(to_string(address));
  const WipedText secret(encode_base64url(view_of(token.secret)));
  object["a"] = std::move(addresses);
  object["n"] = token.server_name;
  object["p"] = encode_base64url(view_of(token.pin));
  object["i"] = token.id;
  object["s"] = secret.get();
  object["u"] = token.identity;
  const WipedText inside(json::serialize(object));
  const WipedText encoded(encode_base64url(inside.get()));
  return fmt::format("{}{}.{}", family, version, encoded.get());
}

Result<JoinToken> parse_join_token(std::string_view text) {
  const Result<std::string_view> encoded = strip(text);
  if (!encoded) return std::unexpected(encoded.error());
  std::optional<std::string> decoded = decode_base64url(*encoded);
  if (!decoded) return damaged();
  const WipedText inside(std::move(*decoded));
  WipedMemory memory;
  json::error_code error;
  json::parse_options options;
  options.max_depth = depth_max;
  const json::value value = json::parse(inside.get(), error, memory.storage(), options);
  if (error || !value.is_object()) return damaged();
  Result<JoinToken> token = read_inside(value.get_object());
  if (!token) return token;
  // A token has one spelling, so that a changed one cannot be the same.
  const WipedText again(to_text(*token));
  if (std::string_view(again.get()).substr(family.size() + version.size() + 1) != *encoded) return damaged();
  return token;
}

Sha256 hash_of(const protocol::TokenSecret& secret) {
  return sha256(view_of(secret));
}

}  // namespace culvert
