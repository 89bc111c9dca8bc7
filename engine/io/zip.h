// Zip archives in memory, as numpy.savez writes them: members stored or deflated.
//
// The directory at the end is what counts; each member's own header must agree with it. Refused are
// encryption, several disks, archives beyond 4 GiB (zip64), names that are there twice, and members
// that lie outside of the file. A member is checked against its CRC-32.
// Errors    ErrorCode::data: file, found, expected, what to do
// Source    PKWARE APPNOTE.TXT 6.3, sections 4.3.7, 4.3.12, 4.3.16
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace elbo {

struct ZipMember {
  std::string name;
  bool deflated = false;
  uint32_t crc32 = 0;
  uint64_t packed_bytes = 0, bytes = 0;
  size_t header = 0;  // where its own header begins
};

// `file` must outlive this.
class ZipArchive {
 public:
  ZipArchive(std::span<const std::byte> file, std::string file_name);

  const std::vector<ZipMember>& members() const { return members_; }
  const ZipMember* find(const std::string& name) const;  // null if there is none

  // Nothing is allocated unless the archive can hold so much.
  std::vector<std::byte> read(const ZipMember& member) const;

 private:
  std::span<const std::byte> file_;
  std::string file_name_;
  std::vector<ZipMember> members_;
  size_t directory_ = 0;  // where it begins: members lie before it
};

}  // namespace elbo
