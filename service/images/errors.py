"""The reasons for which a picture is refused. The messages are for the sender of the picture."""


class PictureError(Exception):
    """A picture is refused."""


class UndecodablePictureError(PictureError):
    """The content is neither a PNG nor a JPEG, or it is damaged."""


class PictureTooLargeError(PictureError):
    """The picture has more pixels than may be decoded, or takes more work than any picture of a camera."""


class NoDigitError(PictureError):
    """The picture certainly does not show one digit."""


class BlankPictureError(NoDigitError):
    """The picture has no ink."""

    def __init__(self, lowest: int, highest: int) -> None:
        levels = f"its levels go from {lowest} to {highest}, of 0 to 255"
        super().__init__(f"the picture shows no ink: nothing on it stands out clearly from its paper; {levels}")


class SeveralDigitsError(NoDigitError):
    """The picture has several marks, and each of them could be a digit."""

    def __init__(self, marks: int) -> None:
        super().__init__(
            f"the picture shows {marks} separate marks of about the same size; send one digit in each picture"
        )


class RowError(PictureError):
    """One of several images certainly does not show one digit.

    Args:
        row: the row of the image.
        error: the reason.
    """

    def __init__(self, row: int, error: NoDigitError) -> None:
        super().__init__(str(error))
        self.row = row
