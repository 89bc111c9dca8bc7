#include "apps/animated_png.h"

#include <string_view>

#include "engine/io/crc32.h"

namespace elbo {
namespace {

constexpr size_t kSignature = 8;  // bytes

std::string big_endian(uint32_t value, int bytes = 4) {
  std::string text;
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) {
    text += static_cast<char>(value >> shift & 0xff);
  }
  return text;
}

uint32_t read_big_endian(std::string_view bytes) {
  uint32_t value = 0;
  for (const char byte : bytes.substr(0, 4)) value = value << 8 | static_cast<uint8_t>(byte);
  return value;
}

std::string chunk(const std::string& type, const std::string& data) {
  const std::string body = type + data;
  return big_endian(static_cast<uint32_t>(data.size())) + body +
         big_endian(crc32(std::as_bytes(std::span(body))));
}

// The data of all chunks of a type in a PNG of ours.
std::string data_of(const std::string& png, std::string_view type) {
  std::string data;
  for (size_t at = kSignature; at + 12 <= png.size();) {
    const uint32_t size = read_big_endian(std::string_view(png).substr(at));
    if (std::string_view(png).substr(at + 4, 4) == type) data += png.substr(at + 8, size);
    at += 12 + size;
  }
  return data;
}

std::string frame_control(uint32_t sequence, const Picture& frame, int frames_per_second) {
  const std::string no_offset = big_endian(0) + big_endian(0);
  const std::string keep_and_replace = big_endian(0, 1) + big_endian(0, 1);
  return chunk("fcTL",
               big_endian(sequence) + big_endian(static_cast<uint32_t>(frame.width)) +
                   big_endian(static_cast<uint32_t>(frame.height)) + no_offset + big_endian(1, 2) +
                   big_endian(static_cast<uint32_t>(frames_per_second), 2) + keep_and_replace);
}

}  // namespace

std::string animated_png_bytes(const std::vector<Picture>& frames, int frames_per_second) {
  ELBO_CHECK(!frames.empty(), "animation: there is no frame to show");
  ELBO_CHECK(frames_per_second > 0 && frames_per_second < 1 << 16, "animation: ", frames_per_second,
             " frames per second; expected 1 to 65535");
  std::string bytes;
  uint32_t sequence = 0;
  for (const Picture& frame : frames) {
    ELBO_CHECK(frame.width == frames[0].width && frame.height == frames[0].height &&
                   frame.channels == frames[0].channels,
               "animation: frames differ in size");
    const std::string png = png_bytes(frame);
    const bool first = bytes.empty();
    if (first) {
      const std::string for_ever = big_endian(0);
      bytes = png.substr(0, kSignature) + chunk("IHDR", data_of(png, "IHDR")) +
              chunk("acTL", big_endian(static_cast<uint32_t>(frames.size())) + for_ever);
    }
    bytes += frame_control(sequence++, frame, frames_per_second);
    const std::string data = data_of(png, "IDAT");
    bytes += first ? chunk("IDAT", data) : chunk("fdAT", big_endian(sequence++) + data);
  }
  return bytes + chunk("IEND", "");
}

}  // namespace elbo
