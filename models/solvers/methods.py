"""The solver methods by name."""

from models.solvers.tableau import Tableau

EULER = Tableau(name="euler", order=1, a=((),), b=(1,), c=(0,))

MIDPOINT = Tableau(name="midpoint", order=2, a=((), (1 / 2,)), b=(0, 1), c=(0, 1 / 2))

RK4 = Tableau(
    name="rk4",
    order=4,
    a=((), (1 / 2,), (0, 1 / 2), (0, 0, 1)),
    b=(1 / 6, 1 / 3, 1 / 3, 1 / 6),
    c=(0, 1 / 2, 1 / 2, 1),
)

# Heun's second-order method. The embedded method is Euler's, which needs only the first stage.
HEUN2 = Tableau(
    name="heun2",
    order=2,
    a=((), (1,)),
    b=(1 / 2, 1 / 2),
    c=(0, 1),
    b_embedded=(1, 0),
    embedded_order=1,
)

# Bogacki and Shampine (1989), "A 3(2) pair of Runge-Kutta formulas", Appl. Math. Lett. 2(4).
BOSH3 = Tableau(
    name="bosh3",
    order=3,
    a=((), (1 / 2,), (0, 3 / 4), (2 / 9, 1 / 3, 4 / 9)),
    b=(2 / 9, 1 / 3, 4 / 9, 0),
    c=(0, 1 / 2, 3 / 4, 1),
    b_embedded=(7 / 24, 1 / 4, 1 / 3, 1 / 8),
    embedded_order=2,
)

# Dormand and Prince (1980), "A family of embedded Runge-Kutta formulae", J. Comput. Appl. Math. 6(1): RK5(4)7M.
DOPRI5 = Tableau(
    name="dopri5",
    order=5,
    a=(
        (),
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
    ),
    b=(35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0),
    c=(0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1),
    b_embedded=(5179 / 57600, 0, 7571 / 16695, 393 / 640, -92097 / 339200, 187 / 2100, 1 / 40),
    embedded_order=4,
)

# Tsitouras (2011), "Runge-Kutta pairs of order 5(4) satisfying only the first column simplifying assumption",
# Comput. Math. Appl. 62(2), table 1. The paper prints the error weights; we add them to b to get b_embedded.
_TSIT5_B = (
    0.09646076681806523,
    0.01,
    0.4798896504144996,
    1.379008574103742,
    -3.290069515436081,
    2.324710524099774,
    0.0,
)
_TSIT5_ERROR = (
    -0.001780011052226,
    -0.000816434459657,
    0.007880878010262,
    -0.144711007173263,
    0.582357165452555,
    -0.458082105929187,
    1 / 66,
)
TSIT5 = Tableau(
    name="tsit5",
    order=5,
    a=(
        (),
        (0.161,),
        (-0.008480655492356989, 0.335480655492357),
        (2.8971530571054935, -6.359448489975075, 4.3622954328695815),
        (5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525),
        (5.86145544294642, -12.92096931784711, 8.159367898576159, -0.071584973281401, -0.028269050394068383),
        _TSIT5_B[:-1],
    ),
    b=_TSIT5_B,
    c=(0, 0.161, 0.327, 0.9, 0.9800255409045097, 1, 1),
    b_embedded=tuple(b + e for b, e in zip(_TSIT5_B, _TSIT5_ERROR, strict=True)),
    embedded_order=4,
)

METHODS: dict[str, Tableau] = {m.name: m for m in (EULER, MIDPOINT, RK4, HEUN2, BOSH3, DOPRI5, TSIT5)}
