// Bounded gunzip and inflate: the caller says how many bytes it can believe in, before they are allocated.
//
// A compressed file is hostile until checked: a few bytes may claim to hold gigabytes. The result
// is never allocated before its size was compared with what deflate can reach from so many
// compressed bytes (1032 : 1), and the stream must end exactly there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace elbo {

bool is_gzip(std::span<const std::byte> bytes);

// `head_bytes`    how many bytes to inflate first (fewer if the stream is shorter)
// `total_bytes`   given those, says how long the whole content must be, or throws
// Errors          ErrorCode::data: file, what is wrong
std::vector<std::byte> gunzip(
    std::span<const std::byte> compressed, const std::string& file_name, size_t head_bytes,
    const std::function<uint64_t(std::span<const std::byte>)>& total_bytes);

// A deflate stream without a wrapper, as in zip archives: exactly `total` bytes, or it throws. No
// checksum is looked at.
std::vector<std::byte> inflate_raw(std::span<const std::byte> compressed,
                                   const std::string& file_name, uint64_t total);

}  // namespace elbo
