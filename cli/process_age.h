// How long this process has been running. Not here: what it did in that time.
#pragma once

namespace nemo {

// Seconds since the kernel started the process, to about 10 ms; 0 where /proc does not say.
double process_age_s();

}  // namespace nemo
