#include "engine/io/gzip.h"

#include <zlib.h>

#include <algorithm>
#include <climits>

#include "kernels/error.h"

namespace elbo {
namespace {

// A deflate match of 258 bytes costs at least 2 bits: 1032 bytes out per byte in.
constexpr uint64_t kMaxRatio = 1032;
constexpr size_t kMaxTransfer = size_t{1} << 30;  // zlib counts in 32 bits

template <class... Pieces>
[[noreturn]] void refuse(const std::string& file_name, const Pieces&... pieces) {
  throw_error(ErrorCode::data, file_name, ": ", pieces..., "; download it again");
}

class Inflater {
 public:
  // `window_bits` as zlib wants them: they say which wrapper is required around the stream.
  Inflater(std::span<const std::byte> input, const std::string& file_name, int window_bits,
           const char* what)
      : input_(input), file_name_(file_name), what_(what) {
    ELBO_CHECK(inflateInit2(&stream_, window_bits) == Z_OK, "zlib cannot start");
  }
  ~Inflater() { inflateEnd(&stream_); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  // Fills `output` as far as the stream reaches; returns the number of bytes written.
  size_t read(std::span<std::byte> output) {
    size_t written = 0;
    while (!ended_ && written < output.size()) {
      const auto room = output.subspan(written, std::min(output.size() - written, kMaxTransfer));
      stream_.next_out = reinterpret_cast<Bytef*>(room.data());
      stream_.avail_out = static_cast<uInt>(room.size());
      step();
      written += room.size() - stream_.avail_out;
    }
    return written;
  }

  // The stream must be over: nothing left to inflate, its checksum right, no bytes behind it.
  void finish(uint64_t expected) {
    std::byte beyond;
    if (read({&beyond, 1}) != 0) refuse(file_name_, "holds more than ", expected, " bytes");
    const size_t left = input_.size() + stream_.avail_in;
    if (left != 0) refuse(file_name_, left, " bytes after the end of the ", what_, " stream");
  }

 private:
  void step() {
    if (stream_.avail_in == 0) {
      const auto piece = input_.first(std::min(input_.size(), kMaxTransfer));
      stream_.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(piece.data()));
      stream_.avail_in = static_cast<uInt>(piece.size());
      input_ = input_.subspan(piece.size());
    }
    const int result = inflate(&stream_, Z_NO_FLUSH);
    if (result == Z_STREAM_END) {
      ended_ = true;
    } else if (result == Z_BUF_ERROR || (result == Z_OK && starved())) {
      refuse(file_name_, "the ", what_, " stream ends too early");
    } else if (result != Z_OK) {
      refuse(file_name_, "the ", what_, " stream is damaged (",
             stream_.msg != nullptr ? stream_.msg : "unknown reason", ")");
    }
  }

  bool starved() const { return stream_.avail_in == 0 && input_.empty() && stream_.avail_out != 0; }

  z_stream stream_{};
  std::span<const std::byte> input_;
  const std::string& file_name_;
  const char* what_;
  bool ended_ = false;
};

void check_ratio(uint64_t total, size_t compressed, const std::string& file_name) {
  if (total / kMaxRatio <= compressed) return;
  refuse(file_name, "declares ", total, " bytes, which ", compressed,
         " compressed bytes cannot hold");
}

}  // namespace

bool is_gzip(std::span<const std::byte> bytes) {
  return bytes.size() >= 2 && bytes[0] == std::byte{0x1f} && bytes[1] == std::byte{0x8b};
}

std::vector<std::byte> gunzip(
    std::span<const std::byte> compressed, const std::string& file_name, size_t head_bytes,
    const std::function<uint64_t(std::span<const std::byte>)>& total_bytes) {
  // 16: a gzip wrapper; zlib then checks its CRC-32 and length at the end.
  Inflater inflater(compressed, file_name, 16 + MAX_WBITS, "gzip");
  std::vector<std::byte> output(head_bytes);
  const size_t head = inflater.read(output);
  const uint64_t total = total_bytes(std::span(output).first(head));
  check_ratio(total, compressed.size(), file_name);
  if (total < head) refuse(file_name, "holds more than ", total, " bytes");
  output.resize(total);
  const size_t written = head + inflater.read(std::span(output).subspan(head));
  if (written != total) refuse(file_name, "holds ", written, " bytes, expected ", total);
  inflater.finish(total);
  return output;
}

std::vector<std::byte> inflate_raw(std::span<const std::byte> compressed,
                                   const std::string& file_name, uint64_t total) {
  check_ratio(total, compressed.size(), file_name);
  Inflater inflater(compressed, file_name, -MAX_WBITS, "deflate");
  std::vector<std::byte> output(total);
  const size_t written = inflater.read(output);
  if (written != total) refuse(file_name, "holds ", written, " bytes, expected ", total);
  inflater.finish(total);
  return output;
}

}  // namespace elbo
