// Whether a picture file is whole, format by format.
#include <zlib.h>

#include <algorithm>
#include <string>

#include "engine/io/crc32.h"
#include "engine/io/image_file.h"
#include "kernels/error.h"

namespace elbo {
namespace {

using Bytes = std::span<const std::byte>;

template <class... Pieces>
[[noreturn]] void refuse(const Pieces&... pieces) {
  throw_error(ErrorCode::data, pieces...);
}

uint32_t big_endian(Bytes bytes, size_t count) {
  uint32_t value = 0;
  for (size_t i = 0; i < count; ++i) value = value << 8 | std::to_integer<uint32_t>(bytes[i]);
  return value;
}

uint32_t little_endian(Bytes bytes, size_t at, size_t count) {
  uint32_t value = 0;
  for (size_t i = count; i-- > 0;) value = value << 8 | std::to_integer<uint32_t>(bytes[at + i]);
  return value;
}

// --- PNG: signature, then chunks of length, type, data, checksum; IHDR first, IEND last ---

constexpr size_t kSignature = 8, kChunkFrame = 12;

struct PngHeader {
  uint64_t width = 0, height = 0, bits_per_pixel = 0;
  bool interlaced = false;
};

PngHeader read_png_header(Bytes data) {
  if (data.size() != 13) refuse("has a PNG header of ", data.size(), " bytes, expected 13");
  constexpr uint64_t kSamples[] = {1, 0, 3, 1, 2, 0, 4};  // by colour type
  const auto colour = std::to_integer<size_t>(data[9]);
  if (colour >= std::size(kSamples) || kSamples[colour] == 0) refuse("has no known colour type");
  return {big_endian(data, 4), big_endian(data.subspan(4), 4),
          std::to_integer<uint64_t>(data[8]) * kSamples[colour], data[12] == std::byte{1}};
}

// Bytes of filter and pixels of one pass, which has a pixel every `step` from `first` on.
uint64_t pass_bytes(const PngHeader& png, uint64_t first_x, uint64_t step_x, uint64_t first_y,
                    uint64_t step_y) {
  const uint64_t width = png.width > first_x ? (png.width - first_x + step_x - 1) / step_x : 0;
  const uint64_t height = png.height > first_y ? (png.height - first_y + step_y - 1) / step_y : 0;
  return width == 0 ? 0 : height * (1 + (width * png.bits_per_pixel + 7) / 8);
}

uint64_t raw_bytes(const PngHeader& png) {
  if (!png.interlaced) return pass_bytes(png, 0, 1, 0, 1);
  return pass_bytes(png, 0, 8, 0, 8) + pass_bytes(png, 4, 8, 0, 8) + pass_bytes(png, 0, 4, 4, 8) +
         pass_bytes(png, 2, 4, 0, 4) + pass_bytes(png, 0, 2, 2, 4) + pass_bytes(png, 1, 2, 0, 2) +
         pass_bytes(png, 0, 1, 1, 2);
}

// Counts what the pieces of a zlib stream inflate to, and keeps none of it.
class InflateCount {
 public:
  InflateCount() { ELBO_CHECK(inflateInit(&stream_) == Z_OK, "zlib cannot start"); }
  ~InflateCount() { inflateEnd(&stream_); }
  InflateCount(const InflateCount&) = delete;
  InflateCount& operator=(const InflateCount&) = delete;

  void add(Bytes piece, uint64_t most) {
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(piece.data()));
    stream_.avail_in = static_cast<uInt>(piece.size());
    while (!ended_ && total_ <= most) {
      Bytef waste[16384];
      stream_.next_out = waste;
      stream_.avail_out = sizeof waste;
      const int result = inflate(&stream_, Z_NO_FLUSH);
      total_ += sizeof waste - stream_.avail_out;
      if (result == Z_STREAM_END) ended_ = true;
      if (result == Z_BUF_ERROR) return;  // wants more input
      if (result != Z_OK && result != Z_STREAM_END) refuse("has damaged compressed pixels");
    }
  }
  bool ended() const { return ended_; }
  uint64_t total() const { return total_; }

 private:
  z_stream stream_{};
  uint64_t total_ = 0;
  bool ended_ = false;
};

}  // namespace

void check_whole_png(Bytes file) {
  PngHeader header;
  InflateCount pixels;
  uint64_t wanted = 0;
  for (size_t at = kSignature;;) {
    if (file.size() < at || file.size() - at < kChunkFrame) refuse("ends too early");
    const size_t length = big_endian(file.subspan(at), 4);
    if (length > file.size() - at - kChunkFrame) refuse("ends too early");
    const Bytes type = file.subspan(at + 4, 4), data = file.subspan(at + 8, length);
    const std::string name(reinterpret_cast<const char*>(type.data()), 4);
    if (crc32(file.subspan(at + 4, 4 + length)) != big_endian(file.subspan(at + 8 + length), 4)) {
      refuse("has a wrong checksum at byte ", at);
    }
    if ((at == kSignature) != (name == "IHDR")) refuse("does not begin with one PNG header");
    if (name == "IHDR") {
      header = read_png_header(data);
      wanted = raw_bytes(header);
    }
    if (name == "IDAT") pixels.add(data, wanted);
    if (name == "IEND") break;
    at += kChunkFrame + length;
  }
  if (!pixels.ended() || pixels.total() != wanted) {
    refuse("unpacks to ", pixels.total(), " bytes, expected ", wanted);
  }
}

namespace {

// Tables of codes: a number, how many codes there are of 1 to 16 bits, and a symbol for each. Version
// 2.27 of the decoder writes past its table where they are more than 256.
void check_codes(Bytes tables) {
  constexpr size_t kHead = 17, kMostCodes = 256;
  while (!tables.empty()) {
    if (tables.size() < kHead) refuse("has a table of codes that ends too early");
    size_t codes = 0;
    for (const std::byte count : tables.subspan(1, 16)) codes += std::to_integer<size_t>(count);
    if (codes > kMostCodes || codes > tables.size() - kHead) {
      refuse("has a table of ", codes, " codes");
    }
    tables = tables.subspan(kHead + codes);
  }
}

}  // namespace

// JPEG: segments of a marker and a length up to the scan, whose data have no length but a marker
// where they end. Thumbnails, which have an end of their own, lie within segments.
void check_whole_jpeg(Bytes file) {
  constexpr unsigned kEnd = 0xd9, kScan = 0xda, kCodes = 0xc4;
  size_t at = 2;
  bool scanned = false;
  while (file.size() - at >= 2) {
    if (file[at] != std::byte{0xff}) {
      if (!scanned) refuse("is no JPEG at byte ", at);
      ++at;  // data of a scan
      continue;
    }
    const auto marker = std::to_integer<unsigned>(file[at + 1]);
    if (marker == kEnd) return;
    const bool bare = marker == 0 || marker == 1 || (marker >= 0xd0 && marker <= 0xd7);
    if (marker == 0xff) {  // padding
      at += 1;
    } else if (bare) {
      at += 2;
    } else {
      if (file.size() - at < 4) break;
      const size_t length = big_endian(file.subspan(at + 2), 2);
      if (length < 2 || length > file.size() - at - 2) break;
      if (marker == kCodes) check_codes(file.subspan(at + 4, length - 2));
      at += 2 + length;
      scanned = scanned || marker == kScan;
    }
  }
  refuse("ends too early");
}

// BMP: everything is in the header, and nothing but the size of the file says whether it is all there.
void check_whole_bmp(Bytes file) {
  constexpr size_t kFileHeader = 14, kShortest = 40;
  if (file.size() < kFileHeader + kShortest) refuse("ends too early");
  const size_t header = little_endian(file, 14, 4), offset = little_endian(file, 10, 4);
  if (header != 40 && header != 56 && header != 108 && header != 124) {
    refuse("has a BMP header of ", header, " bytes, expected 40, 56, 108 or 124");
  }
  const auto width = int64_t{static_cast<int32_t>(little_endian(file, 18, 4))};
  const auto height = std::abs(int64_t{static_cast<int32_t>(little_endian(file, 22, 4))});
  const int64_t bits = little_endian(file, 28, 2);
  constexpr int64_t kLongestSide = 32768;
  if (width < 1 || height < 1 || width > kLongestSide || height > kLongestSide) {
    refuse("declares ", height, " x ", width, " pixels");
  }
  const int64_t known[] = {1, 4, 8, 16, 24, 32};
  if (std::find(std::begin(known), std::end(known), bits) == std::end(known)) {
    refuse("has ", bits, " bits per pixel, expected 1, 4, 8, 16, 24 or 32");
  }
  const int64_t row = (width * bits + 31) / 32 * 4, size = static_cast<int64_t>(file.size());
  if (offset < kFileHeader + header || static_cast<int64_t>(offset) > size ||
      row * height > size - static_cast<int64_t>(offset)) {
    refuse("ends too early");
  }
  if (bits > 8) return;
  // The decoder would look up colours beyond a short palette in memory of its own.
  const size_t colours = (offset - kFileHeader - header) / 4;
  const size_t most = size_t{1} << bits;
  if (colours < 1 || colours > 256 || (bits < 8 && colours < most)) {
    refuse("has a palette of ", colours, " colours");
  }
  for (int64_t y = 0; bits == 8 && colours < most && y < height; ++y) {
    const Bytes pixels = file.subspan(offset + static_cast<size_t>(y * row));
    for (int64_t x = 0; x < width; ++x) {
      const auto colour = std::to_integer<size_t>(pixels[static_cast<size_t>(x)]);
      if (colour >= colours) refuse("uses colour ", colour, " of a palette of ", colours);
    }
  }
}

}  // namespace elbo
