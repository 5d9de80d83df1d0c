// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

// What is fuzzed. Each target takes any bytes and aborts when the code under test breaks a law; libFuzzer calls it
// with what it invents (fuzzer.cpp), and the tests with the corpus (regression_test.cpp).

namespace culvert::fuzz {

using Target = void (*)(std::span<const std::byte> input);

/// The input as one stream of frames: whole and in slices, the same must come out.
void frame_decode(std::span<const std::byte> input);
/// The input as each message: what decodes must survive being encoded again.
void message_decode(std::span<const std::byte> input);
/// The input as each message of enrolment, and, whole and in slices, as what a server answers on a join connection.
void enrolment_decode(std::span<const std::byte> input);
/// The first byte chooses the role and whether the greeting has happened, or a join connection, the second how the rest
/// is cut and which calls its driver makes in between.
void session(std::span<const std::byte> input);
/// The first byte chooses how the rest is read: as an HTTP request, whole and in slices; what is taken must survive
/// being written anew.
void http_request(std::span<const std::byte> input);
/// The same of a response.
void http_response(std::span<const std::byte> input);
/// The rest as a chunked body, in slices that the first byte chooses; what it contains must survive being sent on.
void http_chunked(std::span<const std::byte> input);
/// The input as a path: its canonical form is a fixed point without anything to be resolved.
void http_path(std::span<const std::byte> input);
/// The input as an authority: its canonical form is a fixed point.
void http_authority(std::span<const std::byte> input);
/// The first byte chooses the methods and the verdict, the second the slices; the rest is what a SOCKS client says.
void socks5(std::span<const std::byte> input);
/// The input as the request of a certificate from an agent.
void certificate_request(std::span<const std::byte> input);
/// The first byte chooses what the rest is: a join token, or the JSON inside one.
void join_token(std::span<const std::byte> input);
/// The first byte chooses what the rest is: a token, its claims or its header; or base64url and a JSON object.
void token(std::span<const std::byte> input);

/// The input as a request's path and as a display name; up to the first line feed, as a base path and a query, too.
void gateway_path(std::span<const std::byte> input);
/// The first byte chooses the status; the rest is what a token service answers.
void token_answer(std::span<const std::byte> input);
/// The input as a file of request parameters; up to the first line feed, as the fields alone, too.
void request_parameters(std::span<const std::byte> input);
/// The input as an exported destination in either form, and as an export.
void destination(std::span<const std::byte> input);

/// What the session of the last call of session() had to keep, for the amplification test.
std::size_t session_streams_max();

}  // namespace culvert::fuzz
