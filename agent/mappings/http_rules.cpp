// SPDX-License-Identifier: Apache-2.0
#include "agent/mappings/http_rules.hpp"

#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <utility>

#include "common/http/characters.hpp"

namespace culvert::agent {

using protocol::Reason;

namespace {

constexpr auto override_names =
    std::to_array<std::string_view>({"x-http-method", "x-http-method-override", "x-method-override"});
constexpr auto rewriting_names =
    std::to_array<std::string_view>({"x-original-url", "x-original-uri", "x-original-host", "x-rewrite-url", "x-host",
                                     "x-http-host-override", "x-envoy-original-path", "x-script-name"});

/// Programs behind CGI cannot distinguish "_" from "-".
bool is_one_of(std::span<const std::string_view> names, std::string_view name) {
  // All of them begin so, and few fields of a request do.
  if (!name.starts_with('x') && !name.starts_with('X')) return false;
  return std::ranges::any_of(names, [name](std::string_view one) { return http::is_alike(name, one); });
}

bool covers_exactly(const Resource& resource, std::string_view path) {
  if (path == resource.path) return true;
  if (!resource.sub_paths || !path.starts_with(resource.path)) return false;
  return resource.path.ends_with('/') || path[resource.path.size()] == '/';
}

/// The path without the parameters of its segments: ";jsessionid=1", and "(bD1k)" at the end, where SAP's servers keep
/// a session.
std::string without_parameters(std::string_view path) {
  std::string plain;
  while (!path.empty()) {
    path.remove_prefix(1);  // The slash.
    std::string_view segment = path.substr(0, path.find('/'));
    path.remove_prefix(segment.size());
    segment = segment.substr(0, segment.find(';'));
    const std::size_t bracket = segment.find('(');
    if (segment.ends_with(')') && bracket != 0) segment = segment.substr(0, bracket);
    plain.append(1, '/').append(segment);
  }
  return plain;
}

bool covers(const Resource& resource, std::string_view path, bool ignores_parameters) {
  return covers_exactly(resource, path) || (ignores_parameters && covers_exactly(resource, without_parameters(path)));
}

bool has_method(const Resource& resource, std::string_view method) {
  return resource.methods.empty() || std::ranges::find(resource.methods, method) != resource.methods.end();
}

bool is_spelling_allowed(const HttpRules& rules, std::string_view method, std::string_view spelling, bool upgrades) {
  return std::ranges::any_of(rules.resources, [&](const Resource& resource) {
    return resource.enabled && covers(resource, spelling, resource.ignores_parameters) &&
           (!upgrades || resource.upgrade) && has_method(resource, method);
  });
}

/// Says which part of the request no resource allows.
std::string_view hint_for(const HttpRules& rules, const http::RequestHead& head) {
  const std::string_view path = head.path == "*" ? "/" : std::string_view(head.path);
  const auto any = [&](auto&& is_met) {
    return std::ranges::any_of(rules.resources,
                               [&](const Resource& resource) { return resource.enabled && is_met(resource); });
  };
  if (any([&](const Resource& each) {
        return covers(each, path, each.ignores_parameters) && has_method(each, head.method);
      }))
    return head.upgrade.empty() ? "a resource allows this spelling of the path, but not what it means decoded"
                                : "the resource allows no upgrade; upgrade = true allows it";
  if (any([&](const Resource& each) { return covers(each, path, each.ignores_parameters); }))
    return "the resource of this path does not allow the method";
  if (any([&](const Resource& each) { return covers(each, path, true); }))
    return "a resource allows the path without its parameters; parameters = \"ignore\" allows it with them";
  return "no enabled resource has this path";
}

/// Frameworks read the field without regard to case, and of several values any.
bool is_override_allowed(const HttpRules& rules, const http::RequestHead& head, std::string_view methods) {
  do {
    std::string method(http::take_element(methods));
    for (char& c : method) {
      if (c >= 'a' && c <= 'z') c = static_cast<char>(c - ('a' - 'A'));
    }
    if (!method.empty() && !is_allowed(rules, method, head.path, !head.upgrade.empty())) return false;
  } while (!methods.empty());
  return true;
}

}  // namespace

bool is_allowed(const HttpRules& rules, std::string_view method, std::string_view path, bool upgrades) {
  if (path == "*") return is_spelling_allowed(rules, method, "/", upgrades);
  std::string canonical;
  return !http::append_canonical_path(canonical, path, rules.paths) &&
         is_spelling_allowed(rules, method, canonical, upgrades) &&
         (canonical == path || is_spelling_allowed(rules, method, path, upgrades));
}

std::optional<HttpRefusal> refusal_of(const HttpRules& rules, const http::RequestHead& head) {
  const http::Flaw flaw = head.path == "*" ? nullptr : http::flaw_of_path(head.path, rules.paths);
  if (flaw == &http::refusals::encoded_backslash)
    return HttpRefusal{Reason::ambiguous_backslash,
                       "the path has an encoded backslash; encoded_backslash = \"keep\" allows it"};
  if (flaw != nullptr)
    return HttpRefusal{Reason::ambiguous_path, "the path has an encoded slash; encoded_slash = \"keep\" allows it"};
  if (!is_allowed(rules, head.method, head.path, !head.upgrade.empty()))
    return HttpRefusal{Reason::not_exposed, hint_for(rules, head)};
  for (const auto& [name, value] : head.fields) {
    if (is_one_of(override_names, name) && !is_override_allowed(rules, head, value))
      return HttpRefusal{Reason::not_exposed, "a field asks for another method, which no resource allows here"};
  }
  return std::nullopt;
}

void erase_rewriting_fields(http::Fields& fields) {
  fields.erase_if([](std::string_view name) { return is_one_of(rewriting_names, name); });
}

}  // namespace culvert::agent
