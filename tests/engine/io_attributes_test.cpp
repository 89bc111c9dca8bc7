// Attributes from arrays and tables: whose image a number is, and files that are damaged.
#include "engine/io/attributes.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "engine/io/hold_out.h"
#include "engine/io/open_images.h"
#include "tests/support/error_of.h"
#include "tests/support/malformed.h"
#include "tests/support/numpy_samples.h"
#include "tests/support/picture_samples.h"
#include "tests/support/temp_dir.h"

namespace elbo {
namespace {

using Names = std::vector<std::string>;
using Numbers = std::vector<float>;

std::string f4(const Numbers& values) {
  std::string text;
  for (const float value : values) text += little_endian(std::bit_cast<uint32_t>(value), 4);
  return text;
}
std::string f8(const std::vector<double>& values) {
  std::string text;
  for (const double value : values) text += little_endian(std::bit_cast<uint64_t>(value), 8);
  return text;
}

class AttributesTest : public testing::Test {
 protected:
  void put(const std::string& name, const std::string& file) {
    make_directories(fs, parent_path(dir / name));
    write_file(fs, dir / name, file);
  }
  // A picture whose first pixel says which it is.
  void put_grey(const std::string& name, uint8_t value) {
    put(name, png_file({4, 4, 1, std::vector<uint8_t>(16, value)}));
  }
  ImageSet open(const std::string& name = "set") {
    ImageSetOptions options;
    options.attributes = wish;
    return open_image_set(fs, dir / name, options, log);
  }
  std::string refusal(const std::string& name = "set") {
    return error_of([&] { open(name); });
  }
  // Of either split; their pixels were made so.
  static void expect_aligned(const ImageSplit& split, size_t attributes) {
    ASSERT_EQ(split.attribute_names.size(), attributes);
    ASSERT_EQ(split.attributes.size(), static_cast<size_t>(split.count) * attributes);
    for (int64_t i = 0; i < split.count; ++i) {
      const uint8_t id = split.pixels()[static_cast<size_t>(i * split.image_bytes())];
      for (size_t a = 0; a < attributes; ++a) {
        EXPECT_EQ(split.attributes[static_cast<size_t>(i) * attributes + a],
                  static_cast<float>(id) + 0.5f * static_cast<float>(a));
      }
    }
  }
  static std::string images(int count) {
    std::string pixels;
    for (int i = 0; i < count; ++i) pixels += static_cast<char>(10 + i);
    return npy_file("|u1", "(" + std::to_string(count) + ", 1, 1)", pixels);
  }
  static Numbers numbers(int count, int attributes) {
    Numbers rows;
    for (int i = 0; i < count * attributes; ++i)
      rows.push_back(static_cast<float>(10 + i / attributes) +
                     0.5f * static_cast<float>(i % attributes));
    return rows;
  }

  Fs& fs = real_fs();
  TempDir dir;
  AttributeWish wish{AttributeWish::Use::told};
  std::string said;
  Log log{false, Terminal{}, [this](std::string_view line) { said += line; }};
};

TEST_F(AttributesTest, ArraysOfAnyTypeStayWithTheirImagesWhenSomeAreHeldOut) {
  put("a.npz", zip_file({{"imgs.npy", images(40)},
                         {"attributes.npy", npy_file("<f4", "(40, 2)", f4(numbers(40, 2)))}}));
  const ImageSet set = open("a.npz");
  EXPECT_EQ(set.train.count, 36);
  EXPECT_EQ(set.train.attribute_names, (Names{"attribute_0", "attribute_1"}));
  expect_aligned(set.train, 2);
  expect_aligned(set.test, 2);

  std::string whole;
  for (int i = 0; i < 40; ++i) whole += little_endian(static_cast<uint64_t>(10 + i), 2);
  put("b.npz",
      zip_file({{"imgs.npy", images(40)}, {"attributes.npy", npy_file("<i2", "(40,)", whole)}}));
  expect_aligned(open("b.npz").test, 1);
}

TEST_F(AttributesTest, DspritesAndFilesBesideArraysGiveNames) {
  std::vector<double> values;
  for (int i = 0; i < 12; ++i)
    for (int a = 0; a < 6; ++a) values.push_back(10 + i + 0.5 * a);
  const std::string archive = zip_file(
      {{"imgs.npy", images(12)}, {"latents_values.npy", npy_file("<f8", "(12, 6)", f8(values))}});
  put("dsprites/d.npz", archive);
  const ImageSet set = open("dsprites/d.npz");
  EXPECT_EQ(set.train.attribute_names,
            (Names{"color", "shape", "scale", "orientation", "position_x", "position_y"}));
  expect_aligned(set.train, 6);
  put("named/d.npz", archive);
  put("named/attribute_names.txt", "a\nb \nc d\n\ne\r\nf\ng");
  for (const char* path : {"named", "named/d.npz"})
    EXPECT_EQ(open(path).test.attribute_names, (Names{"a", "b", "c d", "e", "f", "g"}));
  put("named/attribute_names.txt", "a\nb\n");
  EXPECT_EQ(refusal("named"), "4: " + (dir / "named/d.npz") +
                                  ": latents_values: shape [12, 6], but " +
                                  (dir / "named/attribute_names.txt") +
                                  " names 2 attributes; expected a line for each of 6");
}

TEST_F(AttributesTest, SplitsHaveTheirOwnArrays) {
  const auto both = [&](int test_attributes) {
    return zip_file(
        {{"x_train.npy", images(6)},
         {"x_test.npy", images(3)},
         {"train_attributes.npy", npy_file("<f4", "(6, 2)", f4(numbers(6, 2)))},
         {"test_attributes.npy", npy_file("<f4", "(3, " + std::to_string(test_attributes) + ")",
                                          f4(numbers(3, test_attributes)))}});
  };
  put("a.npz", both(2));
  const ImageSet set = open("a.npz");
  expect_aligned(set.train, 2);
  expect_aligned(set.test, 2);
  EXPECT_EQ(set.test.count, 3);
  put("a.npz", both(1));
  EXPECT_EQ(refusal("a.npz"), "4: " + (dir / "a.npz") +
                                  ": x_test: has the attributes attribute_0, expected attribute_0, "
                                  "attribute_1 as in " +
                                  (dir / "a.npz") + ": x_train");
  const auto one = [&](int count) {
    const std::string shape = "(" + std::to_string(count) + ", 1)";
    return zip_file({{"images.npy", images(count)},
                     {"attributes.npy", npy_file("<f4", shape, f4(numbers(count, 1)))}});
  };
  put("two/train.npz", one(5));
  put("two/test.npz", one(4));
  expect_aligned(open("two").train, 1);
  expect_aligned(open("two").test, 1);
}

TEST_F(AttributesTest, ArraysThatAreNoAttributesAreRefusedInOneLine) {
  const auto with = [&](const std::string& array) {
    put("a.npz", zip_file({{"imgs.npy", images(4)}, {"attributes.npy", array}}));
    return refusal("a.npz");
  };
  const std::string at = "4: " + (dir / "a.npz") + ": attributes: ";
  for (const auto& [shape, count] :
       {std::pair{"(3, 2)", 6}, {"(4, 0)", 0}, {"(2, 2, 1)", 4}, {"(4, 1025)", 4 * 1025}}) {
    const std::string found =
        with(npy_file("|u1", shape, std::string(static_cast<size_t>(count), '\1')));
    EXPECT_EQ(found.substr(0, at.size() + 7), at + "shape [");
    EXPECT_NE(found.find("expected [4, A] with 1 to 1024 attributes"), std::string::npos) << found;
  }
  const float infinite = std::numeric_limits<float>::infinity();
  EXPECT_EQ(with(npy_file("<f4", "(4, 2)", f4({1, 2, 3, infinite, 5, 6, 7, 8}))),
            at + "attribute 1 of image 1 is not finite, expected numbers; leave the image or the "
                 "attribute out");
  // Beyond floats.
  EXPECT_NE(with(npy_file("<f8", "(4,)", f8({1, 1e300, 3, 4}))).find("image 1 is not finite"),
            std::string::npos);
}

TEST_F(AttributesTest, ATableNamesFilesByTheirPath) {
  std::string table =
      "\xef\xbb\xbf"
      "file,size, the angle \r\n";
  for (int i = 0; i < 12; ++i) {
    const std::string name = (i % 2 ? "cat/" : "dog/") + std::to_string(i) + ".png";
    put_grey("set/" + name, static_cast<uint8_t>(10 + i));
    table += (i == 3   ? "\"" + name + "\""
              : i == 4 ? "./" + name
                       : name) +
             "," + std::to_string(10 + i) + ".0, +" + std::to_string(10.5 + i) + "\r\n\n";
  }
  table += "not/there.png,1,2";
  put("set/attributes.csv", table);
  const ImageSet set = open();
  EXPECT_EQ(set.train.attribute_names, (Names{"size", "the angle"}));
  EXPECT_EQ(set.class_names, (Names{"cat", "dog"}));
  expect_aligned(set.train, 2);
  expect_aligned(set.test, 2);
  // Pictures that cannot be read take no row.
  put("set/cat/1.png", "no picture");
  expect_aligned(open().train, 2);
  expect_aligned(open().test, 2);
  EXPECT_EQ(open().train.count + open().test.count, 11);
}

TEST_F(AttributesTest, CelebaListsNameFilesWithoutFolders) {
  for (int i = 0; i < 10; ++i)
    put_grey("set/img_align/" + std::to_string(i) + ".png", static_cast<uint8_t>(10 + i));
  const auto rows = [](const std::string& between) {
    std::string text;
    for (int i = 0; i < 10; ++i)
      text += std::to_string(i) + ".png" + between + std::to_string(10 + i) + between +
              std::to_string(10.5 + i) + "\n";
    return text;
  };
  put("set/list_attr_celeba.txt", "10\nSmiling Young \n" + rows("  "));
  EXPECT_EQ(open().train.attribute_names, (Names{"Smiling", "Young"}));
  expect_aligned(open().train, 2);
  put("set/list_attr_celeba.txt", "11\nSmiling Young\n" + rows(" "));
  EXPECT_EQ(refusal(), "4: " + (dir / "set/list_attr_celeba.txt") +
                           ": line 1 declares 11 rows, and there are 10; is the file cut off?");
  put("set/list_attr_celeba.txt", "ten\n");
  EXPECT_EQ(refusal(), "4: " + (dir / "set/list_attr_celeba.txt") +
                           ", line 1: found \"ten\", expected the number of rows");
  put("set/list_attr_celeba.csv", "image_id,Smiling,Young\n" + rows(","));
  expect_aligned(open().test, 2);
}

TEST_F(AttributesTest, TablesThatAreNotAsTheyShouldBeNameFileAndLine) {
  put_grey("set/a.png", 1);
  put_grey("set/b.png", 2);
  const std::string at = "4: " + (dir / "set/attributes.csv");
  const auto with = [&](const std::string& table) {
    put("set/attributes.csv", table);
    return refusal();
  };
  EXPECT_EQ(with("file,x\na.png,1\n"),
            at + ": no row for \"b.png\", expected one for every image file; add it, or remove the "
                 "image");
  EXPECT_EQ(with("file,x\na.png,1\nb.png,high\n"),
            at + ", line 3: x is \"high\", expected a finite number");
  for (const char* number : {"nan", "inf", "1e39", "", "1 2", "0x1"}) {
    EXPECT_EQ(with("file,x\na.png," + std::string(number) + "\nb.png,1\n"),
              at + ", line 2: x is \"" + number + "\", expected a finite number");
  }
  EXPECT_EQ(with("file,x\na.png,1,2\n"),
            at + ", line 2: has 3 fields, expected 2: a file and its attributes");
  EXPECT_EQ(with("file,x\n\na.png,1\na.png,1\n"),
            at + ", line 4: file \"a.png\" has a row above, expected one row per file");
  EXPECT_EQ(with("name,x\na.png,1\n"),
            at + ", line 1: begins with \"name\", expected the header file,NAME,NAME,...");
  EXPECT_EQ(with("file\na.png\nb.png\n"), at + ": names 0 attributes, expected 1 to 1024");
  EXPECT_EQ(with("file,x,x\n"),
            at + ": two attributes are called \"x\", expected each name once; rename one");
  EXPECT_EQ(with("file,x=1\n"),
            at +
                ": found an attribute called \"x=1\", expected a name without = and commas; rename "
                "it");
  EXPECT_EQ(with(""), at + ": ends before the header, expected names of attributes");
}

// A configuration that holds another could not be read back.
TEST(AttributeNames, AreTextThatAConfigurationCanHold) {
  for (const char* name :
       {"a b", "\xc3\xa9", "\xe2\x82\xac", "\xed\x9f\xbf", "\xee\x80\x80", "\xf0\x90\x80\x80",
        "\xf4\x8f\xbf\xbf", "~", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80"})
    EXPECT_EQ(error_of([&] { check_attribute_names({"x", name}, "f"); }), "no error") << name;
  for (const char* name :
       {"\xff", "a\x80", "\xc3", "\xc3x", "\xe2\x82", "\xe2\x82x", "\xc1\xbf", "\xe0\x9f\xbf",
        "\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80",
        "\xf8\x88\x80\x80\x80", "\x7f", "\x1f", "a\tb", "gr\xf6sse"}) {
    const std::string found = error_of([&] { check_attribute_names({"x", name}, "f"); });
    EXPECT_TRUE(found.starts_with("4: f: attribute 2 is called \"")) << found;
    EXPECT_TRUE(
        found.ends_with("\", expected a name in UTF-8 without control characters; rename it"))
        << found;
  }
}

TEST(AttributeColumns, AreInTheOrderThatIsAskedFor) {
  using Columns = std::vector<int64_t>;
  const Names names = {"a", "b", "c"};
  EXPECT_EQ(attribute_columns({}, names, "s"), (Columns{0, 1, 2}));
  EXPECT_EQ(attribute_columns({"c", "a"}, names, "s"), (Columns{2, 0}));
  const auto refusal = [](const Names& wanted, const Names& known) {
    return error_of([&] { attribute_columns(wanted, known, "s"); });
  };
  EXPECT_EQ(refusal({"a", "d"}, names),
            "4: s: there is no attribute \"d\", expected some of a, b, c");
  EXPECT_EQ(refusal({"a", "a"}, names), "2: data.attributes names \"a\" twice; name it once");
  // What is not asked for may be anything.
  EXPECT_EQ(attribute_columns({"b"}, {"a", "", "a", "b", "\xff"}, "s"), Columns{3});
  const std::string twice =
      "4: s: two attributes are called \"a\", expected each name once; rename one";
  EXPECT_EQ(refusal({"a"}, {"a", "b", "a"}), twice);
  EXPECT_EQ(refusal({}, {"a", "b", "a"}), twice);
  EXPECT_TRUE(refusal({"\xff"}, {"\xff"}).starts_with("4: s: attribute 1 is called "));
}

// Tables and arrays of all that can be wrong, in columns that are wanted and in others.
TEST_F(AttributesTest, OnlyThoseThatAreWantedMustBeRight) {
  std::string table = "file,id,text,id2,\xff\n";
  for (int i = 0; i < 10; ++i) {
    const std::string name = std::to_string(i) + ".png";
    put_grey("set/" + name, static_cast<uint8_t>(10 + i));
    table += name + "," + std::to_string(10 + i) + ",tall," + std::to_string(10.5 + i) + ",nan\n";
  }
  put("set/attributes.csv", table);
  const std::string at = "4: " + (dir / "set/attributes.csv");
  EXPECT_TRUE(refusal().starts_with(at + ": attribute 4 is called ")) << refusal();
  wish.names = {"id", "text"};
  EXPECT_EQ(refusal(), at + ", line 2: text is \"tall\", expected a finite number");
  wish.names = {"id", "id2"};
  expect_aligned(open().train, 2);
  expect_aligned(open().test, 2);
  EXPECT_EQ(open().test.attribute_names, wish.names);
  put_grey("set/none.png", 1);
  EXPECT_NE(refusal().find("no row for \"none.png\""), std::string::npos);
  // Nobody asks.
  wish = {};
  EXPECT_TRUE(open().train.attribute_names.empty());
  EXPECT_EQ(said.find("attribute"), std::string::npos) << said;
  // Shown as far as possible.
  wish = {AttributeWish::Use::shown};
  EXPECT_TRUE(open().train.attributes.empty());
  EXPECT_NE(said.find("attributes cannot be used: " + (dir / "set/attributes.csv") +
                      ": attribute 4 is called"),
            std::string::npos)
      << said;
}

TEST_F(AttributesTest, ArraysMayHoldMoreThanIsWanted) {
  const int many = 1030;
  Numbers rows;
  for (int i = 0; i < 4; ++i) {
    rows.insert(rows.end(), many, std::numeric_limits<float>::quiet_NaN());
    rows[static_cast<size_t>(i * many) + 1026] = static_cast<float>(10 + i);
    rows[static_cast<size_t>(i * many) + 3] = static_cast<float>(10 + i) + 0.5f;
  }
  const auto split = [&](int attributes, const Numbers& values) {
    const std::string shape = "(4, " + std::to_string(attributes) + ")";
    return npy_file("<f4", shape, f4(values));
  };
  put("a.npz", zip_file({{"x_train.npy", images(4)},
                         {"x_test.npy", images(4)},
                         {"train_attributes.npy", split(many, rows)},
                         {"test_attributes.npy", split(2, numbers(4, 2))}}));
  EXPECT_NE(refusal("a.npz").find("with 1 to 1024 attributes"), std::string::npos);
  wish.names = {"attribute_1026", "attribute_3"};
  EXPECT_NE(refusal("a.npz").find("there is no attribute \"attribute_1026\""), std::string::npos);
  put("a.npz", zip_file({{"x_train.npy", images(4)},
                         {"x_test.npy", images(4)},
                         {"train_attributes.npy", split(many, rows)},
                         {"test_attributes.npy", split(many, rows)}}));
  expect_aligned(open("a.npz").train, 2);
  expect_aligned(open("a.npz").test, 2);
  wish.names = {"attribute_1026", "attribute_4"};
  EXPECT_NE(refusal("a.npz").find("attribute 4 of image 0 is not finite"), std::string::npos);
  wish = {};
  EXPECT_EQ(open("a.npz").train.count, 4);
  // Of two splits that differ what both have can be told, and nothing of them is shown wrongly.
  put("b.npz", zip_file({{"x_train.npy", images(4)},
                         {"x_test.npy", images(4)},
                         {"train_attributes.npy", split(1, numbers(4, 1))},
                         {"test_attributes.npy", split(2, numbers(4, 2))}}));
  wish.use = AttributeWish::Use::told;
  EXPECT_NE(refusal("b.npz").find("has the attributes attribute_0, attribute_1, expected"),
            std::string::npos);
  wish.names = {"attribute_0"};
  expect_aligned(open("b.npz").test, 1);
  wish = {AttributeWish::Use::shown};
  expect_aligned(open("b.npz").train, 1);
  EXPECT_NE(said.find("attributes cannot be used: "), std::string::npos) << said;
}

TEST_F(AttributesTest, ArraysStandBesideImagesOfAnyName) {
  const auto attributes = [](int count) {
    return npy_file("<f4", "(" + std::to_string(count) + ", 1)", f4(numbers(count, 1)));
  };
  put("two/train.npz",
      zip_file({{"images.npy", images(5)}, {"train_attributes.npy", attributes(5)}}));
  put("two/test.npz",
      zip_file({{"images.npy", images(4)}, {"test_attributes.npy", attributes(4)}}));
  expect_aligned(open("two").train, 1);
  expect_aligned(open("two").test, 1);
  put("free/faces.npy", images(20));
  put("free/attributes.npy", attributes(20));
  put("free/attribute_names.txt", "grey\n");
  for (const char* path : {"free", "free/faces.npy"}) {
    const ImageSet set = open(path);
    expect_aligned(set.train, 1);
    expect_aligned(set.test, 1);
    EXPECT_EQ(set.test.attribute_names, Names{"grey"});
  }
  put("free/more.npy", images(20));
  EXPECT_NE(refusal("free").find("holds the arrays \"attributes\", \"faces\", \"more\""),
            std::string::npos);
  put("only/attributes.npy", attributes(20));
  EXPECT_NE(refusal("only").find("holds the arrays \"attributes\", expected images"),
            std::string::npos);
}

TEST(AttributeFigures, AreThoseOfAllImages) {
  const auto figures =
      attribute_figures(Numbers{1, 0.1f, 1e8f, 3, 0.1f, 1e8f + 8, 8, 0.1f, 1e8f}, 3);
  EXPECT_EQ(figures[0].mean, 4);
  EXPECT_NEAR(figures[0].deviation, std::sqrt(26.0 / 3), 1e-12);
  EXPECT_EQ(figures[0].lowest, 1);
  EXPECT_EQ(figures[0].highest, 8);
  EXPECT_EQ(figures[1].deviation, 0);  // exactly, whatever the mean is rounded to
  EXPECT_EQ(figures[1].mean, 0.1f);
  EXPECT_NEAR(figures[2].deviation, 8 * std::sqrt(2.0) / 3, 1e-6);
}

}  // namespace
}  // namespace elbo
