#include "engine/io/zip.h"

#include <algorithm>
#include <optional>
#include <set>

#include "engine/io/blob.h"
#include "engine/io/crc32.h"
#include "engine/io/gzip.h"
#include "kernels/error.h"

namespace elbo {
namespace {

constexpr uint32_t kMemberMagic = 0x04034b50, kEntryMagic = 0x02014b50, kEndMagic = 0x06054b50;
constexpr size_t kMemberBytes = 30, kEntryBytes = 46, kEndBytes = 22, kLongestComment = 65535;
constexpr uint32_t kZip64 = 0xffffffff;
constexpr unsigned kStored = 0, kDeflated = 8, kEncrypted = 1;

using Bytes = std::span<const std::byte>;

uint32_t number(Bytes bytes, size_t at, size_t count) {
  uint32_t value = 0;
  for (size_t i = count; i-- > 0;) value = value << 8 | std::to_integer<uint32_t>(bytes[at + i]);
  return value;
}

template <class... Pieces>
[[noreturn]] void refuse(const std::string& file_name, const Pieces&... pieces) {
  throw_error(ErrorCode::data, file_name, ": ", pieces..., "; save it again with numpy.savez");
}

// The last thing in the file but for a comment of a declared length.
std::optional<size_t> find_end(Bytes file) {
  if (file.size() < kEndBytes) return std::nullopt;
  const size_t last = file.size() - kEndBytes;
  for (size_t back = 0; back <= std::min(last, kLongestComment); ++back) {
    const size_t at = last - back;
    if (number(file, at, 4) == kEndMagic && number(file, at + 20, 2) == back) return at;
  }
  return std::nullopt;
}

}  // namespace

ZipArchive::ZipArchive(Bytes file, std::string file_name)
    : file_(file), file_name_(std::move(file_name)) {
  const auto end = find_end(file);
  if (!end) refuse(file_name_, "has no zip directory at its end");
  const size_t count = number(file, *end + 10, 2), bytes = number(file, *end + 12, 4);
  directory_ = number(file, *end + 16, 4);
  if (number(file, *end + 4, 2) != 0 || number(file, *end + 8, 2) != count) {
    refuse(file_name_, "is a zip archive of several disks");
  }
  if (directory_ == kZip64 || count == 0xffff) {
    refuse(file_name_, "is a zip64 archive, expected less than 4 GiB");
  }
  if (directory_ > *end || bytes != *end - directory_) {
    refuse(file_name_, "has a directory of ", bytes, " bytes at byte ", directory_,
           ", expected to end at ", *end);
  }
  std::set<std::string> names;
  size_t at = directory_;
  for (size_t i = 0; i < count; ++i) {
    if (*end - at < kEntryBytes || number(file, at, 4) != kEntryMagic) {
      refuse(file_name_, "has a damaged directory at byte ", at);
    }
    const size_t name_bytes = number(file, at + 28, 2);
    const size_t entry =
        kEntryBytes + name_bytes + number(file, at + 30, 2) + number(file, at + 32, 2);
    if (entry > *end - at) refuse(file_name_, "has a damaged directory at byte ", at);
    ZipMember member;
    member.name.assign(reinterpret_cast<const char*>(file.data()) + at + kEntryBytes, name_bytes);
    const unsigned method = number(file, at + 10, 2);
    member.deflated = method == kDeflated;
    member.crc32 = number(file, at + 16, 4);
    member.packed_bytes = number(file, at + 20, 4);
    member.bytes = number(file, at + 24, 4);
    member.header = number(file, at + 42, 4);
    const std::string name = in_quotes(member.name);
    if ((number(file, at + 8, 2) & kEncrypted) != 0) refuse(file_name_, name, " is encrypted");
    if (method != kStored && method != kDeflated) {
      refuse(file_name_, name, " is packed by method ", method, ", expected 0 or 8");
    }
    if (member.bytes == kZip64 || member.packed_bytes == kZip64 || member.header == kZip64) {
      refuse(file_name_, name, " is a zip64 member, expected less than 4 GiB");
    }
    if (!member.deflated && member.bytes != member.packed_bytes) {
      refuse(file_name_, name, " is stored in ", member.packed_bytes, " bytes, expected ",
             member.bytes);
    }
    if (!names.insert(member.name).second) refuse(file_name_, name, " is there twice");
    members_.push_back(std::move(member));
    at += entry;
  }
  if (at != *end) refuse(file_name_, "has ", *end - at, " bytes behind its directory");
}

const ZipMember* ZipArchive::find(const std::string& name) const {
  const auto found = std::find_if(members_.begin(), members_.end(),
                                  [&](const ZipMember& member) { return member.name == name; });
  return found == members_.end() ? nullptr : &*found;
}

std::vector<std::byte> ZipArchive::read(const ZipMember& member) const {
  const std::string what = file_name_ + ": " + in_quotes(member.name);
  const size_t at = member.header;
  if (at > directory_ || directory_ - at < kMemberBytes || number(file_, at, 4) != kMemberMagic) {
    refuse(what, "has no header at byte ", at);
  }
  const size_t name_bytes = number(file_, at + 26, 2);
  const size_t begin = at + kMemberBytes + name_bytes + number(file_, at + 28, 2);
  if (begin > directory_ || member.packed_bytes > directory_ - begin) {
    refuse(what, member.packed_bytes, " bytes at byte ", begin, " do not fit before the directory");
  }
  const std::string own_name(reinterpret_cast<const char*>(file_.data()) + at + kMemberBytes,
                             name_bytes);
  if (own_name != member.name) refuse(what, "is called ", in_quotes(own_name), " in its header");
  const Bytes packed = file_.subspan(begin, member.packed_bytes);
  std::vector<std::byte> bytes(member.deflated ? inflate_raw(packed, what, member.bytes)
                                               : std::vector(packed.begin(), packed.end()));
  if (crc32(bytes) != member.crc32) refuse(what, "has a wrong checksum");
  return bytes;
}

}  // namespace elbo
