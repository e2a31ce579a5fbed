#include "core/device/plan_cache.h"

#include <catch2/catch.hpp>
#include <fstream>

#include "tests/temporary_folder.h"

using namespace nemo;
using nemo::test::TemporaryFolder;

namespace {

namespace fs = std::filesystem;

fs::path only_file(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) files.push_back(entry.path());
  REQUIRE(files.size() == 1);
  return files.front();
}

std::string found(PlanCache& cache, const std::string& library, const std::string& product) {
  const std::string* plan = cache.book().find(library, product);
  return plan == nullptr ? "nothing" : *plan;
}

}  // namespace

TEST_CASE("plans come back at the next start, for the same device and library", "[plans]") {
  const TemporaryFolder folder;
  const fs::path cache_folder = folder / "not/there/yet";
  {
    PlanCache cache("A device, 80GB", cache_folder);
    CHECK(cache.text().empty());
    cache.write();
    CHECK_FALSE(fs::exists(cache_folder));  // nothing was chosen
    cache.book().open("cuBLASLt", 130200);
    CHECK(found(cache, "cuBLASLt", "2 x 3") == "nothing");
    cache.book().keep("cuBLASLt", "2 x 3", "aa");
    cache.write();
    CHECK(only_file(cache_folder).filename() == "plans_A_device__80GB.json");
  }
  PlanCache same("A device, 80GB", cache_folder);
  CHECK(found(same, "cuBLASLt", "2 x 3") == "nothing");  // the library is not opened
  same.book().open("cuBLASLt", 130200);
  CHECK(found(same, "cuBLASLt", "2 x 3") == "aa");
  CHECK(same.take_notices().empty());

  PlanCache other_version("A device, 80GB", cache_folder);
  other_version.book().open("cuBLASLt", 130300);
  CHECK(found(other_version, "cuBLASLt", "2 x 3") == "nothing");
  CHECK(other_version.take_notices().size() == 1);
  CHECK(other_version.take_notices().empty());  // told once

  PlanCache other_device("B", cache_folder);
  other_device.book().open("cuBLASLt", 130200);
  CHECK(found(other_device, "cuBLASLt", "2 x 3") == "nothing");
}

TEST_CASE("two processes that choose at once both keep their plans", "[plans]") {
  const TemporaryFolder folder;
  PlanCache first("A", folder.path()), second("A", folder.path());
  first.book().open("cuBLASLt", 1);
  second.book().open("cuBLASLt", 1);
  second.book().open("cuDNN", 2);
  first.book().keep("cuBLASLt", "a", "1");
  second.book().keep("cuBLASLt", "b", "2");
  second.book().keep("cuDNN", "c", "3");
  first.write();
  second.write();
  first.write();  // nothing new: must not take the second's away
  PlanCache third("A", folder.path());
  third.book().open("cuBLASLt", 1);
  third.book().open("cuDNN", 2);
  CHECK(found(third, "cuBLASLt", "a") == "1");
  CHECK(found(third, "cuBLASLt", "b") == "2");
  CHECK(found(third, "cuDNN", "c") == "3");
}

TEST_CASE("a checkpoint's plans win over the file's, opened before or after", "[plans]") {
  const bool open_first = GENERATE(false, true);
  const TemporaryFolder folder;
  std::string checkpoint;
  {
    PlanCache earlier("A", {});
    earlier.book().open("cuBLASLt", 1);
    earlier.book().keep("cuBLASLt", "a", "of the checkpoint");
    earlier.write();
    checkpoint = earlier.text();
    PlanCache filed("A", folder.path());
    filed.book().open("cuBLASLt", 1);
    filed.book().keep("cuBLASLt", "a", "of the file");
    filed.book().keep("cuBLASLt", "b", "of the file");
    filed.write();
  }
  PlanCache cache("A", folder.path());
  if (open_first) cache.book().open("cuBLASLt", 1);
  cache.add("checkpoint", checkpoint);
  if (!open_first) cache.book().open("cuBLASLt", 1);
  CHECK(found(cache, "cuBLASLt", "a") == "of the checkpoint");
  CHECK(found(cache, "cuBLASLt", "b") == "of the file");
  CHECK(cache.take_notices().empty());
}

TEST_CASE("plans of another device, and damaged ones, are left out with a notice", "[plans]") {
  PlanCache other("B", {});
  other.book().open("cuBLASLt", 1);
  other.book().keep("cuBLASLt", "a", "1");
  PlanCache cache("A", {});
  cache.book().open("cuBLASLt", 1);
  cache.add("checkpoint", other.text());
  cache.add("checkpoint", "{\"format\": 1");
  cache.add("checkpoint", "{\"format\": 2}");
  cache.add("checkpoint", "[]");
  CHECK(found(cache, "cuBLASLt", "a") == "nothing");
  const std::vector<std::string> notices = cache.take_notices();
  REQUIRE(notices.size() == 4);
  CHECK(notices[0].find("chosen on B, this is A") != std::string::npos);
  CHECK(notices[1] == "plans of checkpoint are damaged: chosen again");

  const TemporaryFolder folder;
  folder.write("plans_A.json", "garbage");
  PlanCache damaged("A", folder.path());
  CHECK(damaged.take_notices().size() == 1);
  damaged.book().open("cuBLASLt", 1);
  damaged.book().keep("cuBLASLt", "a", "1");
  damaged.write();  // replaces the damaged file
  CHECK(PlanCache("A", folder.path()).take_notices().empty());
}

TEST_CASE("a cache that cannot be written is a notice, not an error", "[plans]") {
  const TemporaryFolder folder;
  folder.write("file", "");
  PlanCache cache("A", folder / "file/below");
  cache.book().open("cuBLASLt", 1);
  cache.book().keep("cuBLASLt", "a", "1");
  cache.write();
  CHECK(cache.take_notices().size() == 1);
}
