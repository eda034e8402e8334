"""Code for a kernel: CUDA by the driver's own library alone, so that no package is needed."""

from __future__ import annotations

#: Kernels in PTX, which the driver compiles for the GPU at hand: one squares numbers, one keeps the GPU busy for a
#: number of nanoseconds.
_PTX = r"""
.version 6.3
.target sm_52
.address_size 64
.visible .entry squares(.param .u64 out) {
  .reg .b32 %r<6>; .reg .b64 %d<4>;
  ld.param.u64 %d1, [out];
  cvta.to.global.u64 %d1, %d1;
  mov.u32 %r1, %ctaid.x; mov.u32 %r2, %ntid.x; mov.u32 %r3, %tid.x;
  mad.lo.u32 %r4, %r1, %r2, %r3;
  mul.lo.u32 %r5, %r4, %r4;
  mul.wide.u32 %d2, %r4, 4;
  add.u64 %d3, %d1, %d2;
  st.global.u32 [%d3], %r5;
  ret;
}
.visible .entry busy(.param .u64 nanoseconds) {
  .reg .b64 %d<5>; .reg .pred %p;
  ld.param.u64 %d1, [nanoseconds];
  mov.u64 %d2, %globaltimer;
AGAIN:
  mov.u64 %d3, %globaltimer;
  sub.u64 %d4, %d3, %d2;
  setp.lt.u64 %p, %d4, %d1;
  @%p bra AGAIN;
  ret;
}
"""
#: `count` GPUs, the first one's `model`; `allocate(bytes)`, `free()`, `start(kernel, argument)`, `wait()`, `fill(at,
#: bytes, number)`, `numbers(at, count)`. Whatever fails raises with CUDA's number.
PREAMBLE = f"""
import ctypes, os
cuda = ctypes.CDLL("libcuda.so.1")
def done(code):
    if code: raise RuntimeError(f"CUDA says {{code}}")
done(cuda.cuInit(0))
found, context, module = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_void_p()
done(cuda.cuDeviceGetCount(ctypes.byref(found)))
count, text = found.value, ctypes.create_string_buffer(100)
done(cuda.cuDeviceGetName(text, 100, 0))
model = text.value.decode()
done(cuda.cuCtxCreate_v2(ctypes.byref(context), 0, 0))
done(cuda.cuModuleLoadData(ctypes.byref(module), {_PTX.encode()!r}))
def allocate(amount):
    at = ctypes.c_uint64()
    done(cuda.cuMemAlloc_v2(ctypes.byref(at), ctypes.c_size_t(amount)))
    return at
def free():
    left, total = ctypes.c_size_t(), ctypes.c_size_t()
    done(cuda.cuMemGetInfo_v2(ctypes.byref(left), ctypes.byref(total)))
    return left.value, total.value
def start(kernel, argument, blocks=1, threads=1):
    function = ctypes.c_void_p()
    done(cuda.cuModuleGetFunction(ctypes.byref(function), module, kernel.encode()))
    arguments = (ctypes.c_void_p * 1)(ctypes.cast(ctypes.byref(argument), ctypes.c_void_p))
    done(cuda.cuLaunchKernel(function, blocks, 1, 1, threads, 1, 1, 0, None, arguments, None))
def wait():
    done(cuda.cuCtxSynchronize())
def fill(at, amount, number):
    done(cuda.cuMemsetD32_v2(at, number, ctypes.c_size_t(amount // 4)))
    wait()
def numbers(at, many):
    there = (ctypes.c_uint32 * many)()
    done(cuda.cuMemcpyDtoH_v2(there, at, ctypes.c_size_t(4 * many)))
    return there[:]
"""
#: A million numbers squared on the GPU, and how many of them are wrong.
SQUARES = """
many = 1 << 20
at = allocate(4 * many)
start('squares', at, many // 256, 256)
wait()
there = numbers(at, many)
R = [len(there), sum(there[i] != i * i % (1 << 32) for i in range(many))]
"""
RIGHT = [1 << 20, 0]
#: Somebody's data: `most` bytes of the GPU's memory, all the same number.
SECRET = 0x5EC2E7AA
TAKE_MOST = "most = free()[0] // 4 * 3; held = allocate(most)"
#: R: how many of a sample of the numbers in there are SECRET, and how large the sample is.
SAMPLE = f"""
sample = [n for step in range(64) for n in numbers(ctypes.c_uint64(held.value + most // 64 * step), 1 << 16)]
R = [sample.count({SECRET}), len(sample)]
"""
#: R: what CUDA says where there is no GPU; 0 is that there is one.
INIT = """
import ctypes
try: R = ctypes.CDLL("libcuda.so.1").cuInit(0)
except OSError: R = -1
"""
