// Files of text that tell attributes. Start at read_attribute_table().
#include <charconv>
#include <cmath>

#include "engine/io/attributes.h"
#include "engine/io/blob.h"

namespace elbo {
namespace {

constexpr uint64_t kLargestTable = uint64_t{1} << 32;
constexpr uint64_t kLargestNames = uint64_t{1} << 20;
constexpr std::string_view kSpaces = " \t\r";

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(kSpaces);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpaces) + 1 - begin);
}

// Lines of a text, counted from 1, without what ends them.
class Lines {
 public:
  explicit Lines(std::string_view text) : text_(text) {
    constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
    if (text_.starts_with(kByteOrderMark)) text_.remove_prefix(kByteOrderMark.size());
  }
  bool next(std::string_view& line) {
    if (text_.empty()) return false;
    const size_t end = std::min(text_.find('\n'), text_.size());
    line = trimmed(text_.substr(0, end));
    text_.remove_prefix(std::min(end + 1, text_.size()));
    ++number_;
    return true;
  }
  int64_t number() const { return number_; }

 private:
  std::string_view text_;
  int64_t number_ = 0;
};

// Between commas, where quotes hold what is inside together and "" is a quote; or between spaces.
std::vector<std::string> fields_of(std::string_view line, bool commas) {
  std::vector<std::string> fields;
  if (!commas) {
    for (line = trimmed(line); !line.empty(); line = trimmed(line)) {
      const size_t end = std::min(line.find_first_of(kSpaces), line.size());
      fields.emplace_back(line.substr(0, end));
      line.remove_prefix(end);
    }
    return fields;
  }
  bool quoted = false;
  std::string field;
  const auto finish = [&] {
    fields.emplace_back(trimmed(field));
    field.clear();
  };
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '"' && quoted && i + 1 < line.size() && line[i + 1] == '"') {
      field += line[i++];
    } else if (line[i] == '"') {
      quoted = !quoted;
    } else if (line[i] == ',' && !quoted) {
      finish();
    } else {
      field += line[i];
    }
  }
  finish();
  return fields;
}

class TableReader {
 public:
  TableReader(AttributeTable& table, const std::vector<std::string>& wanted, std::string_view text,
              bool commas)
      : table_(table), wanted_(wanted), lines_(text), commas_(commas) {}

  void read() {
    const int64_t declared = commas_ ? -1 : read_count();
    read_header();
    std::string_view line;
    while (lines_.next(line)) {
      if (!line.empty()) add_row(fields_of(line, commas_));
    }
    if (declared >= 0 && declared != std::ssize(table_.rows)) {
      throw_error(ErrorCode::data, table_.source, ": line 1 declares ", declared,
                  " rows, and there are ", table_.rows.size(), "; is the file cut off?");
    }
  }

 private:
  template <class... Parts>
  [[noreturn]] void refuse(const Parts&... parts) const {
    throw_error(ErrorCode::data, table_.source, ", line ", lines_.number(), ": ", parts...);
  }

  int64_t read_count() {
    std::string_view line;
    int64_t count = -1;
    if (lines_.next(line)) {
      const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), count);
      if (error != std::errc{} || end != line.data() + line.size()) count = -1;
    }
    if (count < 0) refuse("found ", in_quotes(line), ", expected the number of rows");
    return count;
  }

  void read_header() {
    std::string_view line;
    if (!lines_.next(line)) {
      throw_error(ErrorCode::data, table_.source, ": ends before the header, expected names of ",
                  "attributes");
    }
    std::vector<std::string> names = fields_of(line, commas_);
    if (commas_) {
      const std::string first = names.front();
      if (first != "file" && first != "image_id") {
        refuse("begins with ", in_quotes(first), ", expected the header file,NAME,NAME,...");
      }
      names.erase(names.begin());
    }
    columns_ = attribute_columns(wanted_, names, table_.source);
    fields_ = names.size() + 1;
    table_.names = wanted_.empty() ? std::move(names) : wanted_;
  }

  void add_row(std::vector<std::string> fields) {
    if (fields.size() != fields_) {
      refuse("has ", fields.size(), " fields, expected ", fields_, ": a file and its attributes");
    }
    std::string& file = fields.front();
    if (file.starts_with("./")) file.erase(0, 2);
    if (!table_.rows.try_emplace(file, table_.rows.size()).second) {
      refuse("file ", in_quotes(file), " has a row above, expected one row per file");
    }
    for (size_t i = 0; i < columns_.size(); ++i) {
      const auto field = static_cast<size_t>(columns_[i]) + 1;
      table_.values.push_back(number(fields[field], table_.names[i]));
    }
  }

  float number(std::string_view text, const std::string& name) const {
    const std::string_view digits = text.starts_with('+') ? text.substr(1) : text;
    double value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    const bool whole = error == std::errc{} && end == digits.data() + digits.size();
    const auto stored = static_cast<float>(value);
    if (!whole || !std::isfinite(stored)) {
      refuse(name, " is ", in_quotes(text), ", expected a finite number");
    }
    return stored;
  }

  AttributeTable& table_;
  const std::vector<std::string>& wanted_;
  Lines lines_;
  bool commas_;
  std::vector<int64_t> columns_;  // those of a row that are kept, without the file
  size_t fields_ = 0;             // of a row, the file among them
};

}  // namespace

std::span<const float> AttributeTable::row(const std::string& file) const {
  const size_t slash = file.rfind('/');
  const bool cut = without_folders && slash != std::string::npos;
  const auto found = rows.find(cut ? file.substr(slash + 1) : file);
  if (found == rows.end()) {
    throw_error(ErrorCode::data, source, ": no row for ", in_quotes(file),
                ", expected one for every image file; add it, or remove the image");
  }
  return std::span(values).subspan(found->second * names.size(), names.size());
}

std::optional<AttributeTable> read_attribute_table(Fs& fs, const std::string& folder,
                                                   const std::vector<std::string>& wanted) {
  constexpr std::string_view kOwn = "attributes.csv";
  for (const std::string_view name :
       {kOwn, std::string_view("list_attr_celeba.csv"), std::string_view("list_attr_celeba.txt")}) {
    AttributeTable table;
    table.source = join_path(folder, name);
    if (!exists(fs, table.source)) continue;
    table.without_folders = name != kOwn;
    const std::string text = read_text_file(fs, table.source, kLargestTable);
    TableReader(table, wanted, text, table.source.ends_with(".csv")).read();
    return table;
  }
  return std::nullopt;
}

std::vector<std::string> read_attribute_names(Fs& fs, const std::string& folder) {
  const std::string path = join_path(folder, "attribute_names.txt");
  std::vector<std::string> names;
  if (!exists(fs, path)) return names;
  const std::string text = read_text_file(fs, path, kLargestNames);
  Lines lines(text);
  std::string_view line;
  while (lines.next(line)) {
    if (!line.empty()) names.emplace_back(line);
  }
  return names;
}

}  // namespace elbo
