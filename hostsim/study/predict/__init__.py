"""Answers with intervals about one migration: replications of a scenario, their figures, and where the answer flips.

``bench`` runs scenarios, ``replications`` decides how many, ``prediction`` is the answer, ``guest`` makes a scenario of the
options that people know, ``forecast`` computes without runs, ``margins`` looks for the values at which the answer flips.
"""

from hostsim.study.predict.predict import predict, predict_drawn
from hostsim.study.predict.prediction import Estimate, Prediction

__all__ = ["Estimate", "Prediction", "predict", "predict_drawn"]
