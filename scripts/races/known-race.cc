// Two threads write to one number: what the sanitizer has to report before its silence about the addon means anything.
#include <thread>

static int shared = 0;

int main() {
  std::thread other([] { shared++; });
  shared++;
  other.join();
}
