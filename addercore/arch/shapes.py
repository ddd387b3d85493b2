"""The one formula for the size of what a convolution, an adder layer or a pooling gives."""


def output_length(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """Positions of a window of `kernel` taps along an axis of `size` values; below 1 where the window does not fit.

    ⌊(size + 2·padding − dilation·(kernel − 1) − 1) / stride⌋ + 1, as torch's Conv2d and MaxPool2d have it.
    """
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
