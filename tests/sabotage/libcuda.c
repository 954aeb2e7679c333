/* A driver library that offers one GPU and serves CUDA 12.0 only. cuda.h has the numbers. */
int cuInit(unsigned flags) { return 0; }
int cuDriverGetVersion(int *version) { *version = 12000; return 0; }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
