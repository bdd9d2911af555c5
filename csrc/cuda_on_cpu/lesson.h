// Lesson mode, as the process that runs a kernel calls it (python/nnfast/ladder/lesson_child.py). A library of its own:
// the kernel file, compiled so that it announces each load and store, with lesson.cpp, emulator.cpp, tensor_core.cpp
// and warpgroup.cpp.
#pragma once
#include <cstddef>

extern "C" {
// What an array holds when the kernel starts. shared: a __shared__ variable. input: is only read. output: rubbish.
enum NnfastLessonArray : int { nnfast_shared, nnfast_input, nnfast_output, nnfast_filled };

// From now on launches are watched; if they last longer than `seconds`, the report says where. `report`: its file.
__attribute__((visibility("default"))) void nnfast_lesson_begin(const char* report, unsigned seconds);
// Memory that kernels may use; all other is out of bounds.
__attribute__((visibility("default"))) void nnfast_lesson_array(const char* name, void* begin, size_t bytes,
                                                                NnfastLessonArray kind);
// Writes the report, as JSON: places as offsets in the library, or as file and line.
__attribute__((visibility("default"))) void nnfast_lesson_end();
}
