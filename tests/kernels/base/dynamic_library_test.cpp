#include "kernels/base/dynamic_library.h"

#include <catch2/catch.hpp>

#include "kernels/base/error.h"

using nemo::kernels::CudaError;
using nemo::kernels::DynamicLibrary;

TEST_CASE("a library on the loader's path gives its functions", "[kernels][dynamic_library]") {
  const DynamicLibrary library({"libnemo_absent.so.1", "libm.so.6"}, {}, "install it");
  CHECK(library.function<double (*)(double)>("cbrt")(27.0) == Approx(3.0));
}

TEST_CASE("an absent library is named, with how to get it", "[kernels][dynamic_library]") {
  CHECK_THROWS_WITH((DynamicLibrary{{"libnemo_absent.so.1"}, {"/no/such/folder"}, "install the absent package"}),
                    Catch::Matchers::StartsWith("libnemo_absent.so.1: cannot be opened (") &&
                        Catch::Matchers::EndsWith("); install the absent package"));
  CHECK_THROWS_AS((DynamicLibrary{{"libnemo_absent.so.1"}, {}, "install it"}), CudaError);
}

TEST_CASE("an absent function is named with its library", "[kernels][dynamic_library]") {
  const DynamicLibrary library({"libm.so.6"}, {}, "install it");
  CHECK_THROWS_WITH(library.function<void (*)()>("nemo_absent_function"), "libm.so.6: has no function nemo_absent_function");
}
