#include "kernels/append_label.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/device.h"
#include "tests/support/error_of.h"
#include "tests/support/values.h"

namespace elbo {
namespace {

class AppendLabelTest : public DeviceTest {};

struct Sizes {
  int64_t batch, pixels, channels, classes;
};
const std::vector<Sizes> kCases = {{1, 1, 1, 1},  {3, 1, 20, 10}, {5, 1, 784, 10}, {4, 49, 3, 10},
                                   {2, 35, 1, 7}, {3, 4, 0, 2},   {3, 4, 2, 0},    {9, 1, 31, 33}};

// Labels of a batch: some out of range on both sides.
std::vector<int32_t> labels_of(const Sizes& s) {
  std::vector<int32_t> labels;
  for (int64_t b = 0; b < s.batch; ++b)
    labels.push_back(static_cast<int32_t>((5 * b + 1) % (s.classes + 2) - 1));
  return labels;
}

template <class T>
void check_forward(Device device, const Exec& exec, const Sizes& s, size_t shift) {
  const auto x_values = random_values<T>(s.batch * s.pixels * s.channels, 3);
  const std::vector<int32_t> labels = labels_of(s);
  const int64_t width = s.channels + s.classes;
  DeviceBuffer<T> x(device, x_values, shift);
  DeviceBuffer<T> y(device, static_cast<size_t>(s.batch * s.pixels * width), shift);
  DeviceBuffer<int32_t> label(device, labels);
  append_label_forward<T>(
      exec, {s.batch, s.pixels, s.channels, s.classes, label.data(), x.data(), y.data()});
  const std::vector<T> found = y.download();
  for (int64_t p = 0; p < s.batch * s.pixels; ++p) {
    for (int64_t c = 0; c < width; ++c) {
      const float value = to_float(found[static_cast<size_t>(p * width + c)]);
      if (c < s.channels) {
        ASSERT_EQ(value, to_float(x_values[static_cast<size_t>(p * s.channels + c)]))
            << p << " " << c;
      } else {
        const bool set = labels[static_cast<size_t>(p / s.pixels)] == c - s.channels;
        ASSERT_EQ(value, set ? 1.0f : 0.0f) << p << " " << c;
      }
    }
  }
}

TEST_P(AppendLabelTest, PutsTheLabelBesideEveryPixel) {
  for (const Sizes& sizes : kCases) {
    for (const size_t shift : {0, 1}) {
      check_forward<float>(device(), exec(), sizes, shift);
      check_forward<bf16>(device(), exec(), sizes, shift);
    }
  }
}

// Some attributes never varied; one of the first cases has a mean and a deviation far from 0 and 1.
template <class T>
void check_attributes(Device device, const Exec& exec, const Sizes& s, size_t shift) {
  using R = Compute<T>;
  const auto x_values = random_values<T>(s.batch * s.pixels * s.channels, 3);
  const auto told = random_values(s.batch * s.classes, 4, -50, 90);
  auto mean_values = random_values<R>(s.classes, 5, -30, 30);
  auto deviation_values = random_values<R>(s.classes, 6, 0.5, 40);
  for (size_t k = 0; k < deviation_values.size(); ++k)
    if (k % 4 == 3) deviation_values[k] = 0;
  const int64_t width = s.channels + s.classes;
  DeviceBuffer<T> x(device, x_values, shift);
  DeviceBuffer<T> y(device, static_cast<size_t>(s.batch * s.pixels * width), shift);
  DeviceBuffer<float> attributes(device, told);
  DeviceBuffer<R> mean(device, mean_values), deviation(device, deviation_values);
  append_attributes_forward<T>(exec, {s.batch, s.pixels, s.channels, s.classes, attributes.data(),
                                      mean.data(), deviation.data(), x.data(), y.data()});
  const std::vector<T> found = y.download();
  for (int64_t p = 0; p < s.batch * s.pixels; ++p) {
    for (int64_t c = 0; c < width; ++c) {
      const auto value = static_cast<double>(to_float(found[static_cast<size_t>(p * width + c)]));
      if (c < s.channels) {
        ASSERT_EQ(value, to_float(x_values[static_cast<size_t>(p * s.channels + c)]))
            << p << " " << c;
        continue;
      }
      const auto k = static_cast<size_t>(c - s.channels);
      const double raw = told[static_cast<size_t>(p / s.pixels * s.classes) + k];
      const double off = raw - static_cast<double>(mean_values[k]);
      const double want =
          deviation_values[k] > 0 ? off / static_cast<double>(deviation_values[k]) : 0.0;
      // One rounding each of the difference, the quotient and the result.
      const double unit = std::is_same_v<T, bf16> ? 0x1p-8 : 0x1p-22;
      ASSERT_NEAR(value, want, unit * (std::abs(want) + (std::is_same_v<T, bf16> ? 0 : 1)))
          << p << " " << c;
    }
  }
}

TEST_P(AppendLabelTest, PutsStandardisedAttributesBesideEveryPixel) {
  for (const Sizes& sizes : kCases) {
    for (const size_t shift : {0, 1}) {
      check_attributes<float>(device(), exec(), sizes, shift);
      check_attributes<bf16>(device(), exec(), sizes, shift);
    }
    if (device() == Device::cpu) check_attributes<double>(device(), exec(), sizes, 0);
  }
}

TEST_P(AppendLabelTest, TheGradientIsThatOfTheValues) {
  for (const Sizes& s : kCases) {
    const int64_t width = s.channels + s.classes;
    const auto dy_values = random_values(s.batch * s.pixels * width, 5);
    const auto before = random_values(s.batch * s.pixels * s.channels, 7);
    for (const GradMode mode : {GradMode::write, GradMode::add}) {
      DeviceBuffer<float> dy(device(), dy_values), dx(device(), before);
      append_label_backward<float>(
          exec(), {s.batch, s.pixels, s.channels, s.classes, dy.data(), dx.data(), mode});
      const std::vector<float> found = dx.download();
      for (size_t i = 0; i < found.size(); ++i) {
        const auto pixel = static_cast<int64_t>(i) / s.channels;
        const auto channel = static_cast<int64_t>(i) % s.channels;
        const float given = dy_values[static_cast<size_t>(pixel * width + channel)];
        ASSERT_EQ(found[i], mode == GradMode::add ? before[i] + given : given) << i;
      }
    }
  }
}

TEST_P(AppendLabelTest, NothingToDoAndNothingToDoItWith) {
  expect_no_launch();
  append_label_forward<float>(exec(), {0, 4, 3, 2, nullptr, nullptr, nullptr});
  append_label_backward<float>(exec(), {0, 4, 3, 2, nullptr, nullptr, GradMode::write});
  append_label_backward<float>(exec(), {4, 4, 0, 2, nullptr, nullptr, GradMode::write});
  EXPECT_EQ(error_of([&] {
              append_label_forward<float>(exec(), {1, 1, 1, 1, nullptr, nullptr, nullptr});
            }),
            "1: append_label: x, y or label is null");
  DeviceBuffer<float> some(device(), 4);
  AppendLabel<float> label{1, 1, 1, 1, nullptr, some.data(), some.data()};
  const auto refuses = [&](const AppendLabel<float>& args) {
    return error_of([&] { append_label_forward(exec(), args); }) ==
           "1: append_label: x, y or label is null";
  };
  EXPECT_TRUE(refuses(label));
  DeviceBuffer<int32_t> zero(device(), 1);
  EXPECT_TRUE(refuses({1, 1, 1, 1, zero.data(), nullptr, some.data()}));
  EXPECT_TRUE(refuses({1, 1, 1, 1, zero.data(), some.data(), nullptr}));
  append_label_forward<float>(exec(), {2, 0, 3, 2, nullptr, nullptr, nullptr});
  append_label_forward<float>(exec(), {2, 1, 0, 0, nullptr, nullptr, nullptr});
  append_label_backward<float>(exec(), {2, 0, 3, 2, nullptr, nullptr, GradMode::write});
}

TEST_P(AppendLabelTest, AttributesNeedTheirScale) {
  expect_no_launch();
  append_attributes_forward<float>(exec(), {});
  DeviceBuffer<float> some(device(), 4);
  float* const p = some.data();
  const auto refusal = [&](const AppendAttributes<float>& args) {
    return error_of([&] { append_attributes_forward(exec(), args); });
  };
  const std::string missing = "1: append_attributes: x, y, attributes, mean or deviation is null";
  EXPECT_EQ(refusal({1, 1, 1, 1, nullptr, p, p, p, p}), missing);
  EXPECT_EQ(refusal({1, 1, 1, 1, p, nullptr, p, p, p}), missing);
  EXPECT_EQ(refusal({1, 1, 1, 1, p, p, nullptr, p, p}), missing);
  EXPECT_EQ(refusal({1, 1, 1, 1, p, p, p, nullptr, p}), missing);
  EXPECT_EQ(refusal({1, 1, 1, 1, p, p, p, p, nullptr}), missing);
  EXPECT_EQ(refusal({2, 1, 1, -1, p, p, p, p, p}),
            "1: append_attributes: 2 x 1 pixels of 1 channels and -1 values beside them");
  append_attributes_forward<float>(exec(),
                                   {2, 0, 3, 2, nullptr, nullptr, nullptr, nullptr, nullptr});
  append_attributes_forward<float>(exec(),
                                   {2, 1, 0, 0, nullptr, nullptr, nullptr, nullptr, nullptr});
}

// What there is none of needs no pointer.
TEST_P(AppendLabelTest, NothingBesideXIsACopyOfIt) {
  const std::vector<float> values = {1, 2, 3};
  DeviceBuffer<float> x(device(), values), y(device(), 3), z(device(), 3);
  append_attributes_forward<float>(exec(),
                                   {3, 1, 1, 0, nullptr, nullptr, nullptr, x.data(), y.data()});
  append_label_forward<float>(exec(), {3, 1, 1, 0, nullptr, x.data(), z.data()});
  EXPECT_EQ(y.download(), values);
  EXPECT_EQ(z.download(), values);
  DeviceBuffer<float> one(device(), std::vector<float>(1, 1.0f));
  append_attributes_forward<float>(
      exec(), {3, 1, 0, 1, x.data(), one.data(), one.data(), nullptr, y.data()});
  EXPECT_EQ(y.download(), (std::vector<float>{0, 1, 2}));
}

INSTANTIATE_TEST_SUITE_P(Devices, AppendLabelTest, testing::ValuesIn(available_devices()),
                         device_name);

}  // namespace
}  // namespace elbo
