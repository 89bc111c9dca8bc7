// libFuzzer target: a .npz or .npy file is refused with elbo::Error or read within its bounds.
#include <cstdint>
#include <cstdlib>

#include "engine/io/npy.h"
#include "engine/io/zip.h"
#include "kernels/error.h"

namespace {

// Deflate reaches 1032 : 1; what is larger than that of a small input only costs the fuzzer time.
constexpr uint64_t kLargestMember = 1 << 20;

double sum_of(std::span<const std::byte> bytes) {
  const elbo::NpyView view = elbo::parse_npy(bytes, "fuzz");
  double sum = 0;
  for (int64_t i = 0; i < view.count(); ++i) sum += view.real(i);
  return sum;
}

template <class Read>
void expect_data_errors(Read read) {
  try {
    read();
  } catch (const elbo::Error& error) {
    if (error.code() != elbo::ErrorCode::data) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static volatile double sink = 0;
  const auto bytes = std::as_bytes(std::span(data, size));
  expect_data_errors([&] { sink = sum_of(bytes); });
  expect_data_errors([&] {
    const elbo::ZipArchive archive(bytes, "fuzz");
    for (const elbo::ZipMember& member : archive.members()) {
      if (member.bytes > kLargestMember) continue;
      expect_data_errors([&] { sink = sum_of(archive.read(member)); });
    }
  });
  return 0;
}
