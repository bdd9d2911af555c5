// A driver without a GPU, for tests of python/nnfast/ladder/driver.py: its memory is this process's, its clock the
// system's. Kernels are those of the emulator, which are done when they return.
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double events[64];
static int count, sick;

int cuInit(unsigned flags) { return (int)flags; }
int cuDeviceGetCount(int* n) {
  *n = getenv("FAKE_GPUS") ? atoi(getenv("FAKE_GPUS")) : 1;
  return 0;
}
int cuDeviceGet(int* device, int number) {
  *device = number;
  return 0;
}
int cuDevicePrimaryCtxRetain(void** context, int device) {
  (void)device;
  *context = events;
  return 0;
}
int cuCtxSetCurrent(void* context) { return context != events; }
int cuCtxSynchronize(void) { return sick; }
int cuDeviceGetName(char* name, int size, int device) {
  (void)device;
  strncpy(name, "A fake GPU", (size_t)size);
  return 0;
}
int cuDeviceGetAttribute(int* value, int attribute, int device) {
  (void)device;
  *value = attribute == 75 ? 8 : attribute == 76 ? 6 : 2;
  return 0;
}
int cuMemAlloc_v2(void** p, size_t size) { return size > 1u << 24 || posix_memalign(p, 256, size) ? 2 : 0; }
int cuMemFree_v2(void* p) {
  free(p);
  return 0;
}
int cuMemcpyHtoD_v2(void* to, const void* from, size_t size) {
  memcpy(to, from, size);
  return sick;
}
int cuMemcpyDtoH_v2(void* to, const void* from, size_t size) {
  memcpy(to, from, size);
  return sick;
}
int cuMemsetD32_v2(unsigned* to, unsigned value, size_t n) {
  while (n--) *to++ = value;
  return sick;
}
int cuEventCreate(void** event, unsigned flags) {
  *event = events + count++ % 64;
  return (int)flags;
}
int cuEventRecord(double* event, void* stream) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  *event = (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
  return stream != NULL;
}
int cuEventSynchronize(double* event) {
  (void)event;
  return sick;
}
int cuEventElapsedTime(float* ms, const double* a, const double* b) {
  *ms = (float)(*b - *a);
  return sick;
}
int cuGetErrorString(int code, const char** text) {
  *text = code == 700 ? "an illegal memory access was encountered" : "some other error";
  return 0;
}
void fake_illegal_access(int on) { sick = on ? 700 : 0; }  // what a kernel that went astray leaves behind
