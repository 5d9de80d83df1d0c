// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/service_writer.hpp"

#include <utility>

#include <fmt/core.h>

#include "server/kubernetes/object.hpp"

namespace culvert::server {

namespace asio = boost::asio;
namespace json = boost::json;

/// The Service first: a name that is taken is found out before anything leads anywhere.
asio::awaitable<Result<void>> ServiceWriter::carry_out(ServiceWork work) {
  const std::string slices =
      fmt::format("/apis/discovery.k8s.io/{}/namespaces/{}/endpointslices", version_, work.owner.name_space);
  if (work.kind == ServiceWork::Kind::withdraw) co_return co_await withdraw(slices, std::move(work.owner));
  auto service = co_await put(fmt::format("/api/v1/namespaces/{}/services", work.owner.name_space),
                              service_of(work.owner, work.planned), work.owner);
  if (!service) co_return service;
  co_return co_await put(slices, slice_of(work.owner, work.planned, work.replicas, version_), work.owner);
}

/// Makes an object as it should be, unless somebody else has made one of its name.
asio::awaitable<Result<void>> ServiceWriter::put(std::string collection, json::object wanted, ServiceOwner owner) {
  std::string name = text_at(object_at(wanted, "metadata"), "name");
  const auto actual = co_await find(collection + "/" + name);
  if (!actual) co_return std::unexpected(actual.error());
  const std::optional<json::object>& known = *actual;
  auto next = write_of(known ? &*known : nullptr, std::move(wanted), owner);
  if (!next) co_return std::unexpected(next.error());
  co_return co_await write(std::move(collection), std::move(name), std::move(*next));
}

/// The Service of a refused object stays, since the server has no right to delete it; its endpoints go.
asio::awaitable<Result<void>> ServiceWriter::withdraw(std::string collection, ServiceOwner owner) {
  const auto actual = co_await find(collection + "/" + slice_name(owner));
  if (!actual) co_return std::unexpected(actual.error());
  const std::optional<json::object>& known = *actual;
  co_return co_await write(std::move(collection), slice_name(owner), withdrawal_of(known ? &*known : nullptr, owner));
}

/// Nothing: there is no such object.
asio::awaitable<Result<std::optional<json::object>>> ServiceWriter::find(std::string path) {
  auto answer = co_await client_.get(path);
  if (!answer) co_return std::unexpected(answer.error());
  if (answer->status == 404) co_return std::nullopt;
  if (!answer->is_good() || !answer->body.is_object()) co_return fail("kubernetes.refused", answer->error_text());
  co_return std::move(answer->body.get_object());
}

asio::awaitable<Result<void>> ServiceWriter::write(std::string collection, std::string name, ObjectWrite write) {
  if (write.kind == ObjectWrite::Kind::none) co_return Result<void>();
  const bool is_new = write.kind == ObjectWrite::Kind::create;
  auto answer = co_await client_.call(is_new ? "POST" : "PATCH", is_new ? collection : collection + "/" + name,
                                      json::value(std::move(write.body)),
                                      is_new ? "application/json" : "application/merge-patch+json");
  if (!answer) co_return std::unexpected(answer.error());
  if (!answer->is_good()) co_return fail("kubernetes.refused", answer->error_text());
  co_return Result<void>();
}

}  // namespace culvert::server
