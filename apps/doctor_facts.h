// What `elbo doctor` finds out about the machine, as data; doctor.cpp prints it.
#pragma once

#include <string>
#include <vector>

namespace elbo {

enum class Health {
  fine,
  note,     // works, but could be better; the fact's hint says how
  trouble,  // what was asked for cannot work
};

struct Fact {
  std::string name;   // "cpu_threads": the JSON key; printed with spaces
  std::string value;  // one line
  Health health = Health::fine;
  std::string hint = {};  // what to do, if not fine
};

std::vector<Fact> build_facts();    // program, compiler, CUDA toolkit
std::vector<Fact> cuda_facts();     // driver, devices, cuBLAS, or why there is none
std::vector<Fact> cpu_facts();      // instruction sets, threads, spinning
std::vector<Fact> product_facts();  // oneDNN, and a measured and checked matrix product
std::vector<Fact> disk_facts(const std::string& output_directory);
std::vector<Fact> data_facts(const std::string& data_directory);

}  // namespace elbo
