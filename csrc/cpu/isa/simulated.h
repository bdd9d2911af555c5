// For tests only: the sizes of avx512, so its tiles, tails and packing run on any machine. The compiler splits the
// vectors.
#pragma once
#include "avx512.h"
