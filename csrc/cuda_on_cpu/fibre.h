// A fibre is a stack and a saved stack pointer. switch_stack saves the registers that a callee keeps and goes over to
// another stack: 5 ns, where the system's swapcontext takes 190 (it saves the signal mask with two system calls).
#pragma once
#include <cstddef>

extern "C" void nnfast_switch_stack(void** save, void* load);

#if defined(__x86_64__)
#define NNFAST_SWITCH_STACK                   \
  asm(".text\n.globl nnfast_switch_stack\n"   \
      ".hidden nnfast_switch_stack\n"         \
      ".type nnfast_switch_stack,@function\n" \
      "nnfast_switch_stack:\n"                \
      "push %rbp\npush %rbx\npush %r12\n"     \
      "push %r13\npush %r14\npush %r15\n"     \
      "mov %rsp,(%rdi)\nmov %rsi,%rsp\n"      \
      "pop %r15\npop %r14\npop %r13\n"        \
      "pop %r12\npop %rbx\npop %rbp\nret\n"   \
      ".size nnfast_switch_stack,.-nnfast_switch_stack\n");

// What switch_stack finds on a new stack: six registers, and `entry` to return to.
inline void* first_frame(char* top, void (*entry)()) {
  void** sp = reinterpret_cast<void**>(top);
  *--sp = nullptr;  // as after a call: entry sees a stack pointer of 8 modulo 16
  *--sp = reinterpret_cast<void*>(entry);
  for (int i = 0; i < 6; ++i) *--sp = nullptr;
  return sp;
}
#elif defined(__aarch64__)
#define NNFAST_SWITCH_STACK                            \
  asm(".text\n.globl nnfast_switch_stack\n"            \
      ".hidden nnfast_switch_stack\n"                  \
      ".type nnfast_switch_stack,%function\n"          \
      "nnfast_switch_stack:\n"                         \
      "sub sp,sp,#160\n"                               \
      "stp x19,x20,[sp]\nstp x21,x22,[sp,#16]\n"       \
      "stp x23,x24,[sp,#32]\nstp x25,x26,[sp,#48]\n"   \
      "stp x27,x28,[sp,#64]\nstp x29,x30,[sp,#80]\n"   \
      "stp d8,d9,[sp,#96]\nstp d10,d11,[sp,#112]\n"    \
      "stp d12,d13,[sp,#128]\nstp d14,d15,[sp,#144]\n" \
      "mov x9,sp\nstr x9,[x0]\nmov sp,x1\n"            \
      "ldp x19,x20,[sp]\nldp x21,x22,[sp,#16]\n"       \
      "ldp x23,x24,[sp,#32]\nldp x25,x26,[sp,#48]\n"   \
      "ldp x27,x28,[sp,#64]\nldp x29,x30,[sp,#80]\n"   \
      "ldp d8,d9,[sp,#96]\nldp d10,d11,[sp,#112]\n"    \
      "ldp d12,d13,[sp,#128]\nldp d14,d15,[sp,#144]\n" \
      "add sp,sp,#160\nret\n"                          \
      ".size nnfast_switch_stack,.-nnfast_switch_stack\n");

inline void* first_frame(char* top, void (*entry)()) {
  void** sp = reinterpret_cast<void**>(top) - 20;
  for (int i = 0; i < 20; ++i) sp[i] = nullptr;
  sp[11] = reinterpret_cast<void*>(entry);  // x30, the address to return to
  return sp;
}
#else
#error "The CUDA emulator switches stacks on x86-64 and aarch64 only: configure with -DNNFAST_EMULATOR=OFF"
#endif
