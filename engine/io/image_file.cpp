// Start at decode_picture(). What stb_image decodes is asked of it; the netpbm formats, whose header
// it reads loosely, are small enough to be read here.
#include "engine/io/image_file.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "engine/io/stb_image_config.h"
#include "kernels/error.h"

namespace elbo {
namespace {

constexpr int64_t kLongestSide = 32768;
constexpr int64_t kMostPixels = int64_t{1} << 26;
constexpr size_t kLargestFile = size_t{1} << 30;  // stb counts in int
// A JPEG spends at least a bit on each of its 8 x 8 blocks.
constexpr int64_t kMostPixelsPerJpegByte = 512;

template <class... Pieces>
[[noreturn]] void refuse(const Pieces&... pieces) {
  throw_error(ErrorCode::data, pieces...);
}

enum class Format { png, jpeg, bmp, pnm };

Format format_of(std::span<const std::byte> file) {
  const auto starts_with = [&](std::string_view magic) {
    return file.size() >= magic.size() && std::memcmp(file.data(), magic.data(), magic.size()) == 0;
  };
  if (file.empty()) refuse("is empty");
  if (starts_with("\x89PNG\r\n\x1a\n")) return Format::png;
  if (starts_with("\xff\xd8\xff")) return Format::jpeg;
  if (starts_with("BM")) return Format::bmp;
  if (starts_with("P5") || starts_with("P6")) return Format::pnm;
  refuse("is no PNG, JPEG, BMP, binary PGM or PPM");
}

void check_limits(const PictureInfo& info) {
  if (info.height < 1 || info.width < 1) {
    refuse("declares ", info.height, " x ", info.width, " pixels");
  }
  if (info.height > kLongestSide || info.width > kLongestSide ||
      info.height * info.width > kMostPixels) {
    refuse("declares ", info.height, " x ", info.width, " pixels, expected at most ", kMostPixels,
           " and ", kLongestSide, " a side");
  }
}

// P5 or P6, then width, height and the largest value, each after white space or comments, then one
// white space and the samples, of two bytes each if the largest value needs them.
struct Netpbm {
  PictureInfo info;
  int64_t largest = 255;
  std::span<const std::byte> samples;
  int64_t sample_bytes() const { return largest > 255 ? 2 : 1; }
};

class NetpbmHeader {
 public:
  explicit NetpbmHeader(std::span<const std::byte> file) : file_(file) {}

  int64_t number() {
    skip_blanks();
    constexpr int64_t kMost = 1 << 20;  // beyond every limit
    int64_t value = -1;
    while (std::isdigit(peek())) {
      value = std::min(std::max<int64_t>(value, 0) * 10 + (next() - '0'), kMost);
    }
    if (value < 0) refuse("has no number where its header needs one");
    return value;
  }
  std::span<const std::byte> rest() {
    if (!std::isspace(peek())) refuse("ends within its header");
    return file_.subspan(at_ + 1);
  }

 private:
  int peek() const { return at_ < file_.size() ? std::to_integer<int>(file_[at_]) : -1; }
  int next() { return std::to_integer<int>(file_[at_++]); }
  void skip_blanks() {
    while (peek() >= 0 && (std::isspace(peek()) || peek() == '#')) {
      if (next() != '#') continue;
      while (peek() >= 0 && next() != '\n') {
      }
    }
  }

  std::span<const std::byte> file_;
  size_t at_ = 2;
};

Netpbm read_netpbm(std::span<const std::byte> file) {
  NetpbmHeader header(file);
  Netpbm pnm;
  pnm.info.channels = file[1] == std::byte{'6'} ? 3 : 1;
  pnm.info.width = header.number();
  pnm.info.height = header.number();
  pnm.largest = header.number();
  check_limits(pnm.info);
  if (pnm.largest < 1 || pnm.largest > 65535) {
    refuse("declares ", pnm.largest, " as its largest value, expected 1 to 65535");
  }
  pnm.samples = header.rest();
  const int64_t wanted = pnm.info.height * pnm.info.width * pnm.info.channels * pnm.sample_bytes();
  if (static_cast<int64_t>(pnm.samples.size()) < wanted) {
    refuse("has ", pnm.samples.size(), " bytes of pixels, expected ", wanted);
  }
  return pnm;
}

Raster decode_netpbm(const Netpbm& pnm) {
  Raster raster{pnm.info.height, pnm.info.width, pnm.info.channels, {}};
  raster.pixels.resize(static_cast<size_t>(raster.height * raster.width * raster.channels));
  for (size_t i = 0; i < raster.pixels.size(); ++i) {
    int64_t value = std::to_integer<int64_t>(pnm.samples[pnm.largest > 255 ? 2 * i : i]);
    if (pnm.largest > 255) value = value << 8 | std::to_integer<int64_t>(pnm.samples[2 * i + 1]);
    value = std::min(value, pnm.largest);
    raster.pixels[i] = static_cast<uint8_t>((value * 255 + pnm.largest / 2) / pnm.largest);
  }
  return raster;
}

// Grey by the weights that stb uses for its formats, so that all agree.
Raster with_channels(Raster raster, int64_t channels) {
  if (raster.channels == channels) return raster;
  const auto pixels = static_cast<size_t>(raster.height * raster.width);
  std::vector<uint8_t> converted(pixels * static_cast<size_t>(channels));
  for (size_t i = 0; i < pixels; ++i) {
    if (channels == 3) {
      std::fill_n(converted.begin() + static_cast<int64_t>(3 * i), 3, raster.pixels[i]);
    } else {
      const uint8_t* rgb = raster.pixels.data() + 3 * i;
      converted[i] = static_cast<uint8_t>((rgb[0] * 77 + rgb[1] * 150 + rgb[2] * 29) >> 8);
    }
  }
  raster.pixels = std::move(converted);
  raster.channels = channels;
  return raster;
}

const stbi_uc* stb_bytes(std::span<const std::byte> file) {
  return reinterpret_cast<const stbi_uc*>(file.data());
}

PictureInfo stb_info(std::span<const std::byte> file) {
  int width = 0, height = 0, channels = 0;
  if (stbi_info_from_memory(stb_bytes(file), static_cast<int>(file.size()), &width, &height,
                            &channels) == 0) {
    refuse("cannot be decoded (", stbi_failure_reason(), ")");
  }
  return {height, width, channels >= 3 ? 3 : 1};
}

}  // namespace

bool is_picture_name(std::string_view name) {
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return false;
  std::string suffix(name.substr(dot));
  for (char& c : suffix) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  constexpr std::string_view kSuffixes[] = {".png", ".jpg", ".jpeg", ".bmp", ".pgm", ".ppm"};
  return std::find(std::begin(kSuffixes), std::end(kSuffixes), suffix) != std::end(kSuffixes);
}

PictureInfo inspect_picture(std::span<const std::byte> file) {
  const Format format = format_of(file);
  if (file.size() > kLargestFile) {
    refuse(file.size(), " bytes, expected at most ", kLargestFile);
  }
  if (format == Format::pnm) return read_netpbm(file).info;
  // These two before the decoder sees anything of them, which reads their headers too trustingly.
  if (format == Format::bmp) check_whole_bmp(file);
  if (format == Format::jpeg) check_whole_jpeg(file);
  const PictureInfo info = stb_info(file);
  check_limits(info);
  if (format == Format::png) check_whole_png(file);
  if (format == Format::jpeg) {
    const auto size = static_cast<int64_t>(file.size());
    if (info.height * info.width > size * kMostPixelsPerJpegByte) {
      refuse("declares ", info.height, " x ", info.width, " pixels, which ", size,
             " bytes cannot hold");
    }
  }
  return info;
}

Raster decode_picture(std::span<const std::byte> file, int64_t channels) {
  ELBO_CHECK(channels == 1 || channels == 3, "pictures have 1 or 3 channels, not ", channels);
  const PictureInfo info = inspect_picture(file);
  if (format_of(file) == Format::pnm) {
    return with_channels(decode_netpbm(read_netpbm(file)), channels);
  }
  int width = 0, height = 0, in_file = 0;
  // As it is stored, without alpha: stb would weigh grey and alpha files differently.
  const std::unique_ptr<stbi_uc, decltype(&std::free)> decoded(
      stbi_load_from_memory(stb_bytes(file), static_cast<int>(file.size()), &width, &height,
                            &in_file, static_cast<int>(info.channels)),
      std::free);
  if (!decoded) refuse("cannot be decoded (", stbi_failure_reason(), ")");
  ELBO_CHECK(height == info.height && width == info.width, "stb_image changed its mind on a size");
  Raster raster{info.height, info.width, info.channels, {}};
  raster.pixels.assign(decoded.get(), decoded.get() + height * width * info.channels);
  return with_channels(std::move(raster), channels);
}

}  // namespace elbo
