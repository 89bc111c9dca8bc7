"""The workloads of bench/workloads.h and the size of their images: height, width, channels."""
IMAGES = {"mlp-mnist": (28, 28, 1), "burda": (28, 28, 1), "conv32": (32, 32, 3),
          "burgess64": (64, 64, 3), "vanilla64": (64, 64, 3)}
NAMES = list(IMAGES)
