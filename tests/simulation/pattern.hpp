// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "protocol/frame.hpp"

namespace culvert::simulation {

using protocol::StreamId;

/// The byte at each offset of a direction follows from the stream and the offset: so lost, doubled or swapped bytes
/// show.
void fill_pattern(std::span<std::byte> out, StreamId id, std::size_t from, std::uint64_t offset);
bool matches_pattern(std::span<const std::byte> bytes, StreamId id, std::size_t from, std::uint64_t offset);

}  // namespace culvert::simulation
