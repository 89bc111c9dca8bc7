#include "tests/support/numpy_samples.h"

#include <zlib.h>

#include "engine/io/crc32.h"
#include "tests/support/malformed.h"

namespace elbo {
namespace {

std::string deflated(const std::string& plain) {
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  std::string packed(deflateBound(&stream, plain.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(plain.data()));
  stream.avail_in = static_cast<uInt>(plain.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

}  // namespace

std::string npy_file(const std::string& type, const std::string& shape,
                     const std::string& elements) {
  std::string header =
      "{'descr': '" + type + "', 'fortran_order': False, 'shape': " + shape + ", }";
  while ((10 + header.size() + 1) % 64 != 0) header += ' ';
  header += '\n';
  return std::string("\x93NUMPY\x01\x00", 8) + little_endian(header.size(), 2) + header + elements;
}

std::string zip_file(const std::vector<ZipSample>& members, const std::string& comment) {
  std::string file, directory;
  for (const ZipSample& member : members) {
    const std::string packed = member.deflated ? deflated(member.content) : member.content;
    const std::string facts =
        little_endian(20, 2) + little_endian(0, 2) + little_endian(member.deflated ? 8 : 0, 2) +
        little_endian(0, 4) + little_endian(crc32(std::as_bytes(std::span(member.content))), 4) +
        little_endian(packed.size(), 4) + little_endian(member.content.size(), 4) +
        little_endian(member.name.size(), 2) + little_endian(0, 2);
    directory += "PK\1\2" + little_endian(20, 2) + facts + little_endian(0, 2) +
                 little_endian(0, 2) + little_endian(0, 2) + little_endian(0, 4) +
                 little_endian(file.size(), 4) + member.name;
    file += "PK\3\4" + facts + member.name + packed;
  }
  return file + directory + "PK\5\6" + little_endian(0, 4) + little_endian(members.size(), 2) +
         little_endian(members.size(), 2) + little_endian(directory.size(), 4) +
         little_endian(file.size(), 4) + little_endian(comment.size(), 2) + comment;
}

}  // namespace elbo
