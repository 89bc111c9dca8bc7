#include "engine/io/safetensors.h"

#include <gtest/gtest.h>

#include "tests/support/error_of.h"
#include "tests/support/malformed.h"
#include "tests/support/temp_dir.h"

namespace elbo {
namespace {

std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

std::string with_length(const std::string& json, const std::string& data = "") {
  return little_endian(json.size()) + json + data;
}

TEST(Safetensors, RoundTripsEveryTypeAndShape) {
  const std::string data(64, 'x');
  const auto take = [&](size_t n) { return as_bytes(data).first(n); };
  const std::vector<NamedBlob> tensors = {
      {"bias", StoredType::f32, {3}, take(12)},
      {"empty", StoredType::f32, {0, 5}, {}},
      {"half", StoredType::f16, {1, 2}, take(4)},
      {"brain", StoredType::bf16, {1}, take(2)},
      {"count", StoredType::i64, {}, take(8)},
      {"index", StoredType::i32, {2, 2}, take(16)},
      {"pixels", StoredType::u8, {7}, take(7)},
      {"exact", StoredType::f64, {1}, take(8)},
      {"deep", StoredType::u8, {1, 1, 1, 1, 1, 1, 1, 2}, take(2)}};
  TempDir dir;
  const WrittenFile written = write_safetensors(real_fs(), dir / "m.safetensors", tensors,
                                                {{"format", "pt"}, {"k", "\"v"}});
  const SafetensorsFile file = load_safetensors(real_fs(), dir / "m.safetensors");
  EXPECT_EQ(written.bytes, file.bytes.size());
  EXPECT_EQ(file.view.metadata, (Metadata{{"format", "pt"}, {"k", "\"v"}}));
  ASSERT_EQ(file.view.tensors.size(), tensors.size());
  for (const NamedBlob& tensor : tensors) {
    const NamedBlob* found = file.view.find(tensor.name);
    ASSERT_NE(found, nullptr) << tensor.name;
    EXPECT_EQ(found->type, tensor.type);
    EXPECT_EQ(found->shape, tensor.shape);
    EXPECT_TRUE(std::equal(found->bytes.begin(), found->bytes.end(), tensor.bytes.begin(),
                           tensor.bytes.end()));
  }
  EXPECT_EQ(file.view.find("bia"), nullptr);
  EXPECT_EQ(file.view.find("zzz"), nullptr);
}

// The bytes that safetensors.numpy.save of the reference library gives for the same tensors.
TEST(Safetensors, WritesTheReferenceLayout) {
  const float weight[] = {1, 2};
  const int64_t count = 3;
  const std::vector<NamedBlob> tensors = {
      {"b", StoredType::f32, {1}, std::as_bytes(std::span(weight, 1))},
      {"a", StoredType::f32, {2}, std::as_bytes(std::span(weight))},
      {"n", StoredType::i64, {}, std::as_bytes(std::span(&count, 1))}};
  TempDir dir;
  write_safetensors(real_fs(), dir / "m", tensors);
  const std::string json =
      R"({"__metadata__":{"format":"pt"},"n":{"dtype":"I64","shape":[],"data_offsets":[0,8]},)"
      R"("a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]},)"
      R"("b":{"dtype":"F32","shape":[1],"data_offsets":[16,20]}}       )";
  ASSERT_EQ(json.size() % 8, 0u);
  const std::string data =
      little_endian(3) + little_endian(0x400000003f800000) + little_endian(0x3f800000, 4);
  EXPECT_EQ(read_text_file(real_fs(), dir / "m", 1000), with_length(json, data));
}

TEST(Safetensors, HeaderIsPaddedToEightForEveryNameLength) {
  for (size_t length = 1; length <= 17; ++length) {
    const NamedBlob tensor{std::string(length, 'n'), StoredType::u8, {0}, {}};
    const NamedBlob* const ordered[] = {&tensor};
    const std::string header = safetensors_header(ordered, {});
    EXPECT_EQ(header.size() % 8, 0u);
    EXPECT_EQ(parse_safetensors(as_bytes(header), "m").tensors.at(0).name, tensor.name);
  }
}

TEST(Safetensors, AnEmptyFileOfTensorsIsValid) {
  EXPECT_TRUE(parse_safetensors(as_bytes(with_length("{}")), "m").tensors.empty());
}

TEST(Safetensors, WriterRefusesWhatItCouldNotReadBack) {
  TempDir dir;
  const auto write = [&](std::vector<NamedBlob> tensors) {
    return error_of([&] { write_safetensors(real_fs(), dir / "m", tensors); });
  };
  const auto four = as_bytes("abcd");
  EXPECT_EQ(write({{"w", StoredType::f32, {2}, four}}),
            "1: safetensors: \"w\" F32 [2] has 4 bytes, expected 8");
  EXPECT_EQ(write({{"w", StoredType::f32, {1}, four}, {"w", StoredType::u8, {4}, four}}),
            "1: safetensors: two tensors are named \"w\"");
  EXPECT_EQ(write({{"__metadata__", StoredType::f32, {1}, four}}),
            "1: safetensors: __metadata__ cannot name a tensor");
  EXPECT_FALSE(exists(real_fs(), dir / "m"));
}

struct Refusal {
  const char* name;
  std::string file;
  std::string message;  // without file name and remedy
};

std::string one_tensor(const std::string& fields) {
  return with_length("{\"w\":{" + fields + "}}");
}

std::vector<Refusal> refusals() {
  const std::string good = R"("dtype":"F32","shape":[1],"data_offsets":[0,4])";
  const std::string entry = "{" + good + "}";
  std::string many = "{";
  for (int i = 0; i <= 65'536; ++i) {
    many += (i == 0 ? "\"" : ",\"") + std::to_string(i) +
            R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  }
  return {
      {"TooShort", "1234567", "7 bytes, expected at least 8"},
      {"HeaderBeyondLimit", little_endian(100'000'001) + "{}",
       "declares a header of 100000001 bytes, expected at most 100000000"},
      {"HeaderBeyondFile", little_endian(3) + "{}",
       "declares a header of 3 bytes, but only 2 follow"},
      {"NoHeader", little_endian(0), "the header does not start with {"},
      {"LeadingSpace", with_length(" {}"), "the header does not start with {"},
      {"ByteOrderMark", with_length("\xef\xbb\xbf{}"), "the header does not start with {"},
      {"NotJson", with_length("{]"), "the header is not JSON near byte 10"},
      {"NotUtf8", with_length("{\"\xff\":1}"), "the header is not JSON near byte 11"},
      {"TextAfterHeader", with_length("{} x"), "the header is not JSON near byte 12"},
      {"ZeroByteHidesTheRest", with_length(std::string("{}\0{}", 5)),
       "the header has a zero byte at 10"},
      {"TensorIsAList", with_length("{\"w\":[]}"),
       "the header has an array near byte 14, expected an object"},
      {"NestedTooDeep", with_length("{\"w\":{\"shape\":[[[[1]]]]}}"),
       "the header has an array near byte 24, expected a whole number"},
      {"MissingShape", one_tensor(R"("dtype":"F32","data_offsets":[0,4])"),
       "tensor \"w\" lacks shape"},
      {"UnknownKey", one_tensor(R"("dtype":"F32","strides":[1])"),
       "tensor \"w\" has the key \"strides\", expected dtype, shape or data_offsets"},
      {"UnknownType", one_tensor(R"("dtype":"F8_E4M3","shape":[1])"),
       "tensor \"w\" has dtype \"F8_E4M3\", expected one of U8 F16 BF16 I32 F32 F64 I64"},
      {"NegativeExtent", one_tensor(R"("dtype":"F32","shape":[-1])"),
       "the header has a negative number near byte 40, expected a whole number"},
      {"FractionalExtent", one_tensor(R"("dtype":"F32","shape":[1.5])"),
       "the header has a fraction or a huge number near byte 41, expected a whole number"},
      {"ExtentBeyond64Bits", one_tensor(R"("dtype":"F32","shape":[18446744073709551616])"),
       "the header has a fraction or a huge number near byte 58, expected a whole number"},
      {"SizeOverflows",
       one_tensor(R"("dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0])"),
       "tensor \"w\" has shape [4611686018427387904, 4], whose size exceeds 64 bits"},
      {"NineDimensions",
       one_tensor(R"("dtype":"U8","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,1])"),
       "tensor \"w\" has more than 8 dimensions"},
      {"ThreeOffsets", one_tensor(R"("dtype":"F32","shape":[1],"data_offsets":[0,4,4])"),
       "the header has a number near byte 62, expected the end of the array"},
      {"OneOffset", one_tensor(R"("dtype":"F32","shape":[1],"data_offsets":[0])"),
       "the header has the end of the array near byte 58, expected a whole number"},
      {"OffsetsRunBackwards",
       one_tensor(R"("dtype":"U8","shape":[0],"data_offsets":[0,18446744073709551615])"),
       "tensor \"w\" has offsets 0 to 18446744073709551615, expected 0 bytes for U8 [0]"},
      {"OffsetsAndShapeDisagree", one_tensor(R"("dtype":"F32","shape":[2],"data_offsets":[0,4])"),
       "tensor \"w\" has offsets 0 to 4, expected 8 bytes for F32 [2]"},
      {"OffsetsBeyondFile", one_tensor(good),
       "tensor \"w\" ends at offset 4, but only 0 bytes of data follow the header"},
      {"BytesAfterLastTensor", with_length("{\"w\":" + entry + "}", "12345"),
       "1 bytes after the last tensor, expected none"},
      {"HoleAtTheStart",
       with_length(R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})", "ab"),
       "tensor \"w\" begins at offset 1, expected 0"},
      {"Overlap", with_length("{\"a\":" + entry + ",\"b\":" + entry + "}", "1234"),
       "tensor \"b\" begins at offset 0, expected 4"},
      {"DuplicateTensor",
       with_length(R"({"w":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},)"
                   R"("w":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})"),
       "two tensors are named \"w\""},
      {"DuplicateField", one_tensor(R"("dtype":"F32","dtype":"F32")"),
       "the key \"dtype\" occurs twice, near byte 35"},
      {"DuplicateMetadata", with_length(R"({"__metadata__":{},"__metadata__":{}})"),
       "the key \"__metadata__\" occurs twice, near byte 41"},
      {"DuplicateMetadataKey", with_length(R"({"__metadata__":{"a":"","a":""}})"),
       "the key \"a\" occurs twice, near byte 35"},
      {"MetadataIsNotText", with_length(R"({"__metadata__":{"a":1}})"),
       "the header has a number near byte 31, expected a string"},
      {"HostileName", with_length("{\"a\\n\\u001b[2J\":1}"),
       "the header has a number near byte 26, expected an object"},
      {"TooManyTensors", with_length(many + "}"), "more than 65536 tensors"},
  };
}

TEST(Safetensors, RefusesEachKnownDefectInOneLine) {
  for (const Refusal& refusal : refusals()) {
    EXPECT_EQ(error_of([&] { parse_safetensors(as_bytes(refusal.file), "m.safetensors"); }),
              "4: m.safetensors: " + refusal.message +
                  "; the file is damaged or not safetensors, copy it again")
        << refusal.name;
  }
}

TEST(Safetensors, NamesFromTheFileAreEscapedInMessages) {
  EXPECT_EQ(in_quotes("a\n\x1b[2J\"\\\x80"), "\"a\\x0a\\x1b[2J\\x22\\x5c\\x80\"");
  EXPECT_EQ(in_quotes(std::string(200, 'n')), "\"" + std::string(80, 'n') + "...\"");
}

TEST(Safetensors, SizeLimitIsCheckedBeforeReading) {
  TempDir dir;
  write_file(real_fs(), dir / "m", with_length("{}"));
  SafetensorsLimits limits;
  limits.file_bytes = 9;
  EXPECT_EQ(error_of([&] { load_safetensors(real_fs(), dir / "m", limits); }),
            "4: " + (dir / "m") + ": 10 bytes, expected at most 9");
}

}  // namespace
}  // namespace elbo
