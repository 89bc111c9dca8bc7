#include "kernels/append_label.h"

#include <gtest/gtest.h>

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
}

INSTANTIATE_TEST_SUITE_P(Devices, AppendLabelTest, testing::ValuesIn(available_devices()),
                         device_name);

}  // namespace
}  // namespace elbo
