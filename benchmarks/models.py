"""The models of accuracy.py: each at its defaults, given a table as its users would give it."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata

import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from tables import categorical

import skbce


@dataclass(frozen=True)
class Job:
    """What a model is made for: the features, for their dtypes, the seed of its random numbers, threads, parameters.

    Only skbce's models are ever given parameters.
    """

    X: pd.DataFrame
    seed: int
    threads: int
    params: dict


@dataclass(frozen=True)
class Model:
    """How one is made, and the library whose version matters."""

    library: str
    make: Callable[[Job], BaseEstimator]

    @property
    def version(self) -> str:
        """As it is installed."""
        if self.library == "skbce":
            return skbce.__version__
        try:
            return metadata.version(self.library)
        except metadata.PackageNotFoundError:
            return "unknown"


def numbers_only(model: BaseEstimator) -> Pipeline:
    """With what takes numbers alone: medians where missing, standardised; categories one-hot, missing one of them."""
    numbers = make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler())
    categories = OneHotEncoder(handle_unknown="ignore")
    columns = make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (categories, make_column_selector(dtype_include="category")),
    )
    return make_pipeline(columns, model)


def logistic_regression(job: Job) -> BaseEstimator:
    return numbers_only(LogisticRegression())


def hist_gradient_boosting(job: Job) -> BaseEstimator:
    return HistGradientBoostingClassifier(categorical_features="from_dtype", random_state=job.seed)


def lightgbm(job: Job) -> BaseEstimator:
    from lightgbm import LGBMClassifier

    return LGBMClassifier(random_state=job.seed, n_jobs=job.threads, verbose=-1)


def xgboost(job: Job) -> BaseEstimator:
    from xgboost import XGBClassifier

    return XGBClassifier(enable_categorical=True, random_state=job.seed, n_jobs=job.threads)


def catboost(job: Job) -> BaseEstimator:
    from catboost import CatBoostClassifier

    model = CatBoostClassifier(
        cat_features=categorical(job.X),
        random_seed=job.seed,
        thread_count=job.threads,
        verbose=False,
        allow_writing_files=False,
    )
    return make_pipeline(FunctionTransformer(with_missing_named), model)


def with_missing_named(X: pd.DataFrame) -> pd.DataFrame:
    """CatBoost takes strings and no gaps among its categories."""
    named = {column: X[column].astype(object).fillna("(missing)") for column in categorical(X)}
    return X.assign(**named)


def mlp_classifier(job: Job) -> BaseEstimator:
    return numbers_only(MLPClassifier(random_state=job.seed))


def skbce_mlp(job: Job) -> BaseEstimator:
    return numbers_only(skbce.BCEMLPClassifier(random_state=job.seed, n_threads=job.threads, **job.params))


def skbce_tabular(job: Job) -> BaseEstimator:
    if not hasattr(skbce, "make_tabular_classifier"):
        raise ImportError("skbce has no make_tabular_classifier")
    model = skbce.make_tabular_classifier(**job.params)
    # Whichever of its steps have them.
    given = {"random_state": job.seed, "n_threads": job.threads}
    steps = {name: name.rpartition("__")[2] for name in model.get_params() if name not in job.params}
    return model.set_params(**{name: given[last] for name, last in steps.items() if last in given})


def without_gaps(model: BaseEstimator) -> Pipeline:
    """With what takes categories, but no missing numbers: their medians."""
    numbers = SimpleImputer(strategy="median", keep_empty_features=True)
    columns = make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        remainder="passthrough",
        verbose_feature_names_out=False,
    )
    return make_pipeline(columns.set_output(transform="pandas"), model)


def real_mlp(job: Job) -> BaseEstimator:
    from pytabkit import RealMLP_TD_Classifier

    # By default it is made for accuracy; this is what its authors advise for log loss. On breast_cancer some rows then
    # get a probability of exactly 0, one of them wrongly: log loss 0.61, where its defaults have 0.14. The temperature
    # that its authors offer (ts-mix) leaves it at 0.61.
    for_log_loss = {"val_metric_name": "cross_entropy", "use_ls": False}
    return without_gaps(
        RealMLP_TD_Classifier(device="cpu", random_state=job.seed, n_threads=job.threads, **for_log_loss)
    )


def tabm(job: Job) -> BaseEstimator:
    from pytabkit import TabM_D_Classifier

    return without_gaps(
        TabM_D_Classifier(device="cpu", random_state=job.seed, n_threads=job.threads, val_metric_name="cross_entropy")
    )


MODELS = {
    "LogisticRegression": Model("scikit-learn", logistic_regression),
    "HistGradientBoosting": Model("scikit-learn", hist_gradient_boosting),
    "LightGBM": Model("lightgbm", lightgbm),
    "XGBoost": Model("xgboost", xgboost),
    "CatBoost": Model("catboost", catboost),
    "RealMLP": Model("pytabkit", real_mlp),
    "TabM": Model("pytabkit", tabm),
    "MLPClassifier": Model("scikit-learn", mlp_classifier),
    "skbce-mlp": Model("skbce", skbce_mlp),
    "skbce": Model("skbce", skbce_tabular),
}
