// A folder of recipe files that lasts as long as the test. Not here: what is in them.
#pragma once
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <string>
#include <utility>

namespace nemo::testing {

class RecipeFolder {
 public:
  explicit RecipeFolder(std::initializer_list<std::pair<const char*, std::string>> files) {
    std::string pattern = (std::filesystem::temp_directory_path() / "nemo_recipes_XXXXXX").string();
    path_ = mkdtemp(pattern.data());
    for (const auto& [name, text] : files) write(name, text);
  }
  ~RecipeFolder() { std::filesystem::remove_all(path_); }
  RecipeFolder(const RecipeFolder&) = delete;
  RecipeFolder& operator=(const RecipeFolder&) = delete;

  std::string write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name) << text;
    return file(name);
  }
  std::string file(const std::string& name) const { return (path_ / name).string(); }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace nemo::testing
