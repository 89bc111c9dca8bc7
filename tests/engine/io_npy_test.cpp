#include "engine/io/npy.h"

#include <gtest/gtest.h>

#include <bit>

#include "tests/support/error_of.h"
#include "tests/support/malformed.h"
#include "tests/support/numpy_samples.h"

namespace elbo {
namespace {

std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

std::string with_header(const std::string& header, const std::string& elements) {
  return std::string("\x93NUMPY\x01\x00", 8) + little_endian(header.size(), 2) + header + elements;
}
std::string refusal(const std::string& file) {
  return error_of([&] { parse_npy(as_bytes(file), "f"); });
}

TEST(Npy, ReadsWhatNumpyWrites) {
  const std::string file = npy_file("|u1", "(2, 3)", "abcdef");
  EXPECT_EQ((file.size() - 6) % 64, 0u);
  const NpyView view = parse_npy(as_bytes(file), "f");
  EXPECT_EQ(view.type, "|u1");
  EXPECT_EQ(view.shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(view.integer(5), 'f');
  EXPECT_EQ(parse_npy(as_bytes(npy_file("|u1", "(3,)", "abc")), "f").shape.size(), 1u);
  EXPECT_EQ(parse_npy(as_bytes(npy_file("|u1", "()", "a")), "f").count(), 1);
}

TEST(Npy, ReadsEveryNumberInBothByteOrders) {
  const auto value = [](const std::string& type, const std::string& little) {
    const std::string big(little.rbegin(), little.rend());
    const bool is_big = type[0] == '>';
    const std::string file = npy_file(type, "(1,)", is_big ? big : little);
    return parse_npy(as_bytes(file), "f").real(0);
  };
  for (const char order : {'<', '>'}) {
    const std::string o(1, order);
    EXPECT_EQ(value(o + "f4", little_endian(std::bit_cast<uint32_t>(-2.5f), 4)), -2.5);
    EXPECT_EQ(value(o + "f8", little_endian(std::bit_cast<uint64_t>(1e300), 8)), 1e300);
    EXPECT_EQ(value(o + "i2", little_endian(0xfffe, 2)), -2);
    EXPECT_EQ(value(o + "u2", little_endian(0xfffe, 2)), 65534);
    EXPECT_EQ(value(o + "i4", little_endian(0xfffffffd, 4)), -3);
    EXPECT_EQ(value(o + "u4", little_endian(0xfffffffd, 4)), 4294967293.0);
    EXPECT_EQ(value(o + "i8", little_endian(~uint64_t{3}, 8)), -4);
    EXPECT_EQ(value(o + "i1", "\xff"), -1);
  }
  EXPECT_EQ(value("|b1", "\1"), 1);
}

TEST(Npy, AcceptsItsHeaderInAnyOrderAndLaterVersions) {
  const std::string header = "{ \"shape\":(2,),'fortran_order' : False, 'descr':'|u1'}\n";
  EXPECT_EQ(parse_npy(as_bytes(with_header(header, "ab")), "f").count(), 2);
  const std::string second =
      std::string("\x93NUMPY\x02\x00", 8) + little_endian(header.size(), 4) + header + "ab";
  EXPECT_EQ(parse_npy(as_bytes(second), "f").count(), 2);
}

TEST(Npy, RefusesEachKnownDefectInOneLine) {
  const std::string again = "; save it again with numpy.save";
  EXPECT_EQ(refusal(""), "4: f: does not start as a .npy file does" + again);
  EXPECT_EQ(refusal("\x93NUMPY\x01"), "4: f: ends within its header" + again);
  EXPECT_EQ(refusal(std::string("\x93NUMPY\x09\x00\x01\x00 ", 11)),
            "4: f: has format version 9, expected 1 to 3" + again);
  EXPECT_EQ(refusal(std::string("\x93NUMPY\x02\x00", 8) + little_endian(0xffffffff, 4)),
            "4: f: declares a header of 4294967295 bytes, expected at most 10000" + again);
  EXPECT_EQ(refusal(npy_file("|O", "(1,)", "a")),
            "4: f: has elements of type \"|O\", expected numbers such as '|u1' or '<f4' "
            "(array.astype('f4'))" +
                again);
  EXPECT_EQ(refusal(npy_file("<c8", "(1,)", "12345678")).substr(0, 33),
            "4: f: has elements of type \"<c8\",");
  EXPECT_EQ(refusal(npy_file("|u1", "(2, 2)", "abc")),
            "4: f: has 3 bytes of elements, expected 4 for shape [2, 2] of \"|u1\"" + again);
  EXPECT_EQ(refusal(npy_file("|u1", "(2,)", "abc")),
            "4: f: has 3 bytes of elements, expected 2 for shape [2] of \"|u1\"" + again);
  EXPECT_EQ(refusal(npy_file("<f4", "(4611686018427387904, 4)", "")),
            "4: f: has a shape whose size exceeds 64 bits" + again);
  EXPECT_EQ(refusal(npy_file("<f4", "(99999999999999999999,)", "")),
            "4: f: has a shape whose size exceeds 64 bits" + again);
  EXPECT_EQ(refusal(npy_file("|u1", "(1,1,1,1,1,1,1,1,1)", "a")),
            "4: f: has more than 8 dimensions" + again);
  EXPECT_EQ(refusal(with_header("{'descr': '|u1', 'fortran_order': True, 'shape': (1,), }", "a")),
            "4: f: is in Fortran order, expected C order; save numpy.ascontiguousarray(array)");
  for (const char* header :
       {"", "{}", "{'descr': '|u1', 'fortran_order': False}",
        "{'descr': '|u1', 'descr': '|u1', 'fortran_order': False, 'shape': ()}",
        "{'descr': '|u1', 'fortran_order': 0, 'shape': ()}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (-1,)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1,)} x",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1,), 'more': ''}",
        "{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (1,)}"}) {
    EXPECT_EQ(refusal(with_header(header, "a")).substr(0, 42),
              "4: f: has a header that cannot be read at ")
        << header;
  }
}

TEST(Npy, EveryDamagedByteIsRefusedOrHarmless) {
  const std::string file = npy_file("<i2", "(2, 1, 3)", "abcdefghijkl");
  int files = 0, accepted = 0;
  const auto examine = [&](const std::string& changed) {
    ++files;
    try {
      const NpyView view = parse_npy(as_bytes(changed), "f");
      ++accepted;
      uint64_t bytes = view.element_bytes;
      for (const int64_t extent : view.shape) bytes *= static_cast<uint64_t>(extent);
      EXPECT_EQ(view.elements.size(), bytes);
      for (int64_t i = 0; i < view.count(); ++i) EXPECT_EQ(view.real(i), view.real(i));
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::data);
      EXPECT_TRUE(std::string(error.what()).starts_with("f: ")) << error.what();
    }
  };
  for_each_truncation(file, examine);
  EXPECT_EQ(accepted, 0);
  for_each_changed_byte(file, examine);
  for (const uint64_t a : kBoundaries64) {
    for (const uint64_t b : kBoundaries64) {
      const std::string shape = "(" + std::to_string(a) + ", " + std::to_string(b) + ", 2)";
      for (const char* type : {"|u1", "<f4", ">f8"}) examine(npy_file(type, shape, "12345678"));
    }
  }
  EXPECT_GT(files, 1000);
}

}  // namespace
}  // namespace elbo
