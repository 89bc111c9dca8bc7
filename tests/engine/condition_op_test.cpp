// What a network is told, row by row: several rows for each label or row of attributes.
#include "engine/ops/condition_op.h"

#include <gtest/gtest.h>

#include "tests/support/device.h"
#include "tests/support/error_of.h"

namespace elbo {
namespace {

class ConditionOp : public DeviceTest {
 protected:
  void SetUp() override {
    DeviceTest::SetUp();
    if (!IsSkipped()) context_ = std::make_unique<Context>(DeviceChoice{device(), 0, ""});
  }
  void TearDown() override {
    blocks_.clear();
    context_.reset();
    DeviceTest::TearDown();
  }

  template <class T>
  Tensor put(const Shape& shape, const std::vector<T>& values) {
    blocks_.emplace_back(*context_, values.size() * sizeof(T), Role::buffers);
    context_->upload(blocks_.back().data(), values.data(), blocks_.back().bytes());
    return external_tensor(blocks_.back().as<T>(), shape, context_->device());
  }
  // What the op makes of x.
  template <class Op>
  std::vector<float> run(const Op& op) {
    Tape tape(*context_);
    tape.set_recording(false);
    Tensor y;
    tape.run(1, [&](Tape& t) {
      y = op(t);
      t.keep(y);
    });
    std::vector<float> values(static_cast<size_t>(y.size()));
    context_->download(values.data(), y.data, y.bytes());
    return values;
  }

  std::unique_ptr<Context> context_;
  std::vector<DeviceBlock> blocks_;
};

TEST_P(ConditionOp, RowsAfterEachOtherAreToldTheSame) {
  // Four rows of 1 x 2 pixels with one channel, two rows for each label and row of attributes.
  const Tensor x = put<float>(Shape{4, 1, 2, 1}, {1, 2, 3, 4, 5, 6, 7, 8});
  const Tensor label = put<int32_t>(Shape{2}, {1, 0});
  EXPECT_EQ(run([&](Tape& t) { return append_label(t, x, label, 2); }),
            (std::vector<float>{1, 0, 1, 2, 0, 1, 3, 0, 1, 4, 0, 1,  //
                                5, 1, 0, 6, 1, 0, 7, 1, 0, 8, 1, 0}));
  const Tensor attributes = put<float>(Shape{2, 3}, {10, 5, 7, 30, 6, 8});
  const Tensor mean = put<float>(Shape{3}, {20, 5, 0}), scale = put<float>(Shape{3}, {5, 0.5f, 0});
  EXPECT_EQ(run([&](Tape& t) { return append_attributes(t, x, attributes, mean, scale); }),
            (std::vector<float>{1, -2, 0, 0, 2, -2, 0, 0, 3, -2, 0, 0, 4, -2, 0, 0,  //
                                5, 2,  2, 0, 6, 2,  2, 0, 7, 2,  2, 0, 8, 2,  2, 0}));
}

TEST_P(ConditionOp, RefusesRowsThatDoNotBelongTogether) {
  expect_no_launch();
  const Tensor x = put<float>(Shape{4, 1}, {1, 2, 3, 4});
  const Tensor three = put<float>(Shape{3, 1}, {1, 2, 3}), flat = put<float>(Shape{2}, {1, 2});
  const Tensor whole = put<int32_t>(Shape{4, 1}, {1, 2, 3, 4});
  const Tensor labels = put<int32_t>(Shape{3}, {1, 2, 3});
  const Tensor one = put<float>(Shape{1}, {1}), two = put<float>(Shape{2}, {1, 1});
  const auto refusal = [&](const Tensor& told, const Tensor& mean, const Tensor& scale) {
    return error_of(
        [&] { run([&](Tape& t) { return append_attributes(t, x, told, mean, scale); }); });
  };
  const std::string needed =
      "1: append_attributes: x is [4, 1], so a row of f32 attributes is needed for every row, or "
      "for "
      "as many rows each; found ";
  EXPECT_EQ(refusal(three, one, one), needed + "f32 [3, 1]");
  EXPECT_EQ(refusal(flat, one, one), needed + "f32 [2]");
  EXPECT_EQ(refusal(whole, one, one), needed + "i32 [4, 1]");
  const Tensor four = put<float>(Shape{4, 1}, {1, 2, 3, 4});
  const std::string other = "1: append_attributes: the scale of 1 attributes is f32 [2]";
  EXPECT_EQ(refusal(four, two, one), other);
  EXPECT_EQ(refusal(four, one, two), other);
  EXPECT_EQ(
      error_of([&] { run([&](Tape& t) { return append_label(t, x, labels, 4); }); }),
      "1: append_label: x is [4, 1], so an int32 label is needed for every row, or for as many "
      "rows each; found i32 [3]");
}

INSTANTIATE_TEST_SUITE_P(Devices, ConditionOp, testing::ValuesIn(available_devices()), device_name);

}  // namespace
}  // namespace elbo
