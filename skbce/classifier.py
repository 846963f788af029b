"""BCEMLPClassifier: scikit-learn's rules. It validates once, encodes labels, trains, publishes attributes."""

import inspect
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring, get_scorer_names
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,
)
from sklearn.utils.validation import check_is_fitted, validate_data

from skbce._callbacks import CallbackSupportMixin, EpochTasks
from skbce._class_weight import ClassWeight, row_weights
from skbce._config import documentation_url
from skbce._drafts import draft_of, snapshot
from skbce._files import SavesModel
from skbce._inputs import (
    Table,
    about,
    accepted_dtypes,
    accuracy,
    check_both_classes,
    conversion,
    converted_weight,
    encoded,
    kernel_table,
    refuse_unreadable,
    validated,
    validation_targets,
)
from skbce._parameters import ACTIVATIONS, Layout, known_activations, known_layout
from skbce._prediction import class_probabilities, fill_input_gradients, fill_logits
from skbce._state import (
    STATE_ERRORS,
    check_labels,
    count,
    flag,
    is_finite,
    number,
    numbers,
    require,
    state_error,
    state_of,
)
from skbce._threads import thread_limit, working
from skbce._training import (
    SCHEDULES,
    SOLVERS,
    CostFunction,
    EpochTraining,
    HeldOut,
    History,
    Optimizer,
    Outcome,
    Sample,
    Settings,
    StochasticTraining,
    minimize_lbfgs,
)
from skbce._training.schedules import factors
from skbce._typed import available_if, fit_context
from skbce._version import __version__
from skbce.kernels import doors
from skbce.onnx import ConvertsToOnnx

# Rows x parameters below which BLAS starts no threads of its own, so that it need not be held to one (OpenBLAS does
# from 9216 multiply-adds of a matrix with a vector, and from 262144 of two matrices).
_BLAS_STAYS_ALONE = 2**13

_MOST_UNITS = np.iinfo(np.int32).max

# Nats per sample and output from which training is said to have led nowhere.
_LOST = 100

# What validation learns of X.
_OF_COLUMNS = ("n_features_in_", "feature_names_in_")


def _has_stochastic_solver(estimator: "BCEMLPClassifier") -> bool:
    if not (isinstance(estimator.solver, str) and estimator.solver in SOLVERS):
        raise AttributeError(
            f"partial_fit is only available for stochastic solvers {SOLVERS}, and solver={estimator.solver!r}."
        )
    return True


class BCEMLPClassifier(SavesModel, ConvertsToOnnx, CallbackSupportMixin, ClassifierMixin, BaseEstimator):
    """Multi-layer perceptron for binary and multilabel targets, trained on binary cross-entropy.

    Takes the place of scikit-learn's MLPClassifier: the same parameters, attributes, and, from the same
    `random_state`, the same model. All layers' forward and backward passes, losses and updates run in compiled
    kernels without the GIL. In the mean over m rows (nats per sample), with L2 term, the cost is ::

        1/m [ sum_i sum_k -(y_ik log p_ik + (1 - y_ik) log(1 - p_ik)) + alpha/2 sum_l |W_l|^2 ]

    with p = sigmoid(Z_L), Z_l = A_(l-1) W_l + b_l, A_l = f(Z_l), A_0 = X.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int or int, default=(100,)
        Units of each hidden layer; `()` is logistic regression.
    activation : str or array-like of str, default='relu'
        f of the hidden layers, one for all or one for each: 'identity', 'logistic', 'tanh', 'relu', 'leaky_relu',
        'elu', 'selu', 'softplus', 'gelu', 'silu' or 'mish'.
    solver : {'lbfgs', 'sgd', 'adam'}, default='adam'
        'adam' [2]_ and 'sgd' step after each batch; 'lbfgs' [3]_ minimises the cost over all rows, which on
        small tables (to a few thousand rows) often gets further sooner.
    alpha : float, default=0.0001
        Strength of the L2 term; biases are exempt.
    batch_size : int or 'auto', default='auto'
        Rows a step; 'auto' is min(200, n_samples). Not used by 'lbfgs'.
    learning_rate : {'constant', 'invscaling', 'adaptive', 'cosine', 'one_cycle', 'coslog4'} or callable, \
            default='constant'
        Of 'sgd' alone: 'invscaling' is learning_rate_init / (t + 1)^power_t, t being the rows seen so far;
        'adaptive' divides by 5 whenever progress stalls (see `tol`), down to 1e-6, and stops then. Of 'sgd' and
        'adam', step by step, a factor of learning_rate_init as a function of progress t = 0 .. 1 over `max_iter`
        epochs: 'cosine' is (1 + cos(pi t)) / 2 [4]_; 'one_cycle' rises for 30 %, then falls [5]_; 'coslog4' is
        (1 - cos(2 pi log2(1 + 15 t))) / 2 [6]_; or a callable(t) -> factor. partial_fit counts the epochs of
        `loss_curve_`; after `max_iter` of them it stays at t = 1, where 'cosine' and 'coslog4' are 0,
        and warns once.
    learning_rate_init : float, default=0.001
        Step size at the start, of 'sgd' and 'adam'; with a schedule, the one that factors multiply.
    power_t : float, default=0.5
        Exponent of 'invscaling'.
    max_iter : int, default=200
        Most epochs ('sgd', 'adam') or iterations ('lbfgs').
    shuffle : bool, default=True
        Whether rows are put in a new order every epoch.
    random_state : int, RandomState instance or None, default=None
        Draws the initial parameters, the seed of `dropout`, the validation split and the order of rows.
    tol : float, default=1e-4
        Training ends when the loss (with early stopping: the validation score) has not improved by this much
        for more than `n_iter_no_change` epochs; for 'lbfgs', when the largest gradient entry is below it.
    verbose : bool or int, default=False
        Whether to print how training goes: with 1 at most a line every half second, with 2 a line every epoch.
    warm_start : bool, default=False
        Whether fit continues from the parameters it finds.
    momentum : float in [0, 1], default=0.9
        Of 'sgd'.
    nesterovs_momentum : bool, default=True
        Whether the momentum is Nesterov's.
    early_stopping : bool, default=False
        Whether to watch `scoring` on rows that are not trained on, and end with the parameters that scored best. The
        rows are X_val of `fit`, or else `validation_fraction` of X (stratified for a binary target). Not used by
        'lbfgs'.
    validation_fraction : float in [0, 1), default=0.1
        Share of rows held out where there is no X_val.
    beta_1, beta_2 : float in [0, 1), default=0.9, 0.999
        Decay of the first and second moments of 'adam'.
    epsilon : float, default=1e-8
        Keeps the division of 'adam' finite.
    n_iter_no_change : int or inf, default=10
        Epochs without improvement that are put up with.
    max_fun : int, default=15000
        Most evaluations of the cost by 'lbfgs'.
    max_time : float or None, default=None
        Seconds that training may take. It ends after the step that passes them, with a warning and a usable model:
        with early stopping, the best so far. The epoch that it cuts short counts as one.
    scoring : str, callable or None, default=None
        What is measured on them: None is the accuracy, "loss" minus the binary cross-entropy, anything else a
        scorer of scikit-learn, by name or callable(estimator, X, y), which gets sample_weight too where it takes it.
        Larger is better.
    class_weight : dict, list of dict, 'balanced' or None, default=None
        {label: weight} multiplies sample_weight, and a label that it leaves out weighs 1; 'balanced' takes
        n_samples / (2 n_samples of the class), rows counted by sample_weight. For a multilabel target a list of a dict
        {0: .., 1: ..} a column, whose weights multiply. Rows that X_val brings are not weighted by it.
    weight_decay : float, default=0.0
        Each step shrinks W by learning rate times this, apart from the gradient: AdamW with 'adam', SGDW with
        'sgd' [7]_. Biases are exempt.
    max_grad_norm : float or None, default=None
        Longest L2 norm of the gradient of all parameters together; a longer one is shortened to it [8]_.
    label_smoothing : float in [0, 1), default=0.0
        Trains on y (1 - label_smoothing) + label_smoothing / 2 [9]_. Losses of the training are those of these
        targets, losses and scores of held-out rows those of y.
    dropout : float in [0, 1) or array-like of them, default=0.0
        The probability that a hidden unit is left out of a training step for a row [10]_, in all hidden layers or in
        each; those kept are divided by 1 minus it. Prediction and validation use all units. Not for 'lbfgs'.
    dtype : {'float32', 'float64'} or None, default=None
        Precision to compute in, whatever that of X; None follows X at the first fit, and a model that goes on keeps its
        own.
    n_threads : int or None, default=None
        Most threads to use, in fit and in prediction; None follows OMP_NUM_THREADS, the cores that the process may use
        and joblib's share of them. Fewer are used where a batch is too small to share, and while several fits run in
        one process. The result is the same to the last bit for any number.

    Attributes
    ----------
    classes_ : ndarray of shape (2,) or (n_outputs,)
        The two labels, sorted; for a multilabel target the columns' numbers.
    coefs_ : list of ndarray, W_l of shape (n_units[l], n_units[l + 1])
        float32 or float64: `dtype`, or the precision of X at fit.
    intercepts_ : list of ndarray, b_l of shape (n_units[l + 1],)
    loss_ : float
        Cost of the last epoch, nats per sample.
    best_loss_ : float or None
        Least loss of an epoch; None with early stopping. Not set by 'lbfgs'.
    loss_curve_ : list of float
        Cost of each epoch. Not set by 'lbfgs'.
    learning_rate_curve_ : list of float
        Learning rate of the last step of each epoch. Not set by 'lbfgs'.
    validation_scores_ : list of float or None
        `scoring` after each epoch, with early stopping or X_val. Not set by 'lbfgs'.
    validation_loss_curve_ : list of float or None
        Binary cross-entropy of the same rows, nats per sample, without L2 term. Not set by 'lbfgs'.
    best_validation_score_ : float or None
        The largest score, with early stopping. Not set by 'lbfgs'.
    best_iteration_ : int or None
        The epoch (1, 2, ..) that scored it, and whose parameters the model has. Not set by 'lbfgs'.
    n_iter_ : int
        Epochs or iterations of the last call.
    t_ : int
        Rows seen in training, each epoch anew.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Where X had names that are all strings.
    n_layers_ : int
        Layers of units, input and output included: len(coefs_) + 1.
    n_outputs_ : int
        1 for a binary target.
    out_activation_ : str
        'logistic'.

    Raises
    ------
    ValueError
        In fit: for input that is not finite, a target that is not binary or multilabel or has one class, and when
        parameters become non-finite; the last finite model is then kept, and usable.

    Warns
    -----
    ConvergenceWarning
        When `max_iter` (without a schedule that ends there), or `max_time`, ends training before `tol` does.
    UserWarning
        When Ctrl-C ended training (the model is usable), when `batch_size` exceeds the rows, and when a pickle
        was written by another version.

    References
    ----------
    .. [1] D. E. Rumelhart, G. E. Hinton, R. J. Williams, "Learning representations by back-propagating errors",
       Nature 323 (1986). :doi:`10.1038/323533a0`
    .. [2] D. P. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization" (2015).
       :doi:`10.48550/arXiv.1412.6980`
    .. [3] R. H. Byrd, P. Lu, J. Nocedal, C. Zhu, "A Limited Memory Algorithm for Bound Constrained
       Optimization", SIAM J. Sci. Comput. 16 (1995). :doi:`10.1137/0916069`
    .. [4] I. Loshchilov, F. Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts" (2017).
       :doi:`10.48550/arXiv.1608.03983`
    .. [5] L. N. Smith, N. Topin, "Super-convergence: very fast training of neural networks using large learning
       rates" (2019). :doi:`10.1117/12.2520589`
    .. [6] D. Holzmueller, L. Grinsztajn, I. Steinwart, "Better by Default: Strong Pre-Tuned MLPs and Boosted Trees on
       Tabular Data" (2024). :doi:`10.48550/arXiv.2407.04491`
    .. [7] I. Loshchilov, F. Hutter, "Decoupled Weight Decay Regularization" (2019).
       :doi:`10.48550/arXiv.1711.05101`
    .. [8] R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural networks" (2013).
       :doi:`10.48550/arXiv.1211.5063`
    .. [9] C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens, Z. Wojna, "Rethinking the Inception Architecture for Computer
       Vision" (2016). :doi:`10.1109/CVPR.2016.308`
    .. [10] N. Srivastava, G. Hinton, A. Krizhevsky, I. Sutskever, R. Salakhutdinov, "Dropout: A Simple Way to Prevent
       Neural Networks from Overfitting", JMLR 15 (2014). https://jmlr.org/papers/v15/srivastava14a.html

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skbce import BCEMLPClassifier
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
    >>> clf = make_pipeline(StandardScaler(), BCEMLPClassifier(max_iter=300, random_state=0))
    >>> bool(clf.fit(X_train, y_train).score(X_test, y_test) > 0.95)
    True
    """

    # For the link in the HTML representation; scikit-learn's own documentation has nothing on this class.
    _doc_link_module = "skbce"
    _doc_link_template = property(lambda self: documentation_url())

    classes_: NDArray[Any]
    coefs_: list[NDArray[np.floating]]
    intercepts_: list[NDArray[np.floating]]
    loss_: float
    best_loss_: float | None
    loss_curve_: list[float]
    learning_rate_curve_: list[float]
    validation_scores_: list[float] | None
    validation_loss_curve_: list[float] | None
    best_validation_score_: float | None
    best_iteration_: int | None
    n_iter_: int
    t_: int
    n_features_in_: int
    feature_names_in_: NDArray[np.object_]
    n_layers_: int
    n_outputs_: int
    out_activation_: str

    _parameter_constraints: dict = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS)), "array-like"],
        "solver": [StrOptions({"lbfgs", *SOLVERS})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive", *SCHEDULES}), callable],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "max_time": [Interval(Real, 0, None, closed="neither"), None],
        "scoring": [StrOptions({"loss", *get_scorer_names()}), callable, None],
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "max_grad_norm": [Interval(Real, 0, None, closed="neither"), None],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left"), "array-like"],
        "dtype": [StrOptions({"float32", "float64"}), None],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
    }

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] | int = (100,),
        activation: str | Sequence[str] = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str | Callable[[float], float] = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        max_time: float | None = None,
        scoring: str | Callable[..., float] | None = None,
        class_weight: ClassWeight | None = None,
        weight_decay: float = 0.0,
        max_grad_norm: float | None = None,
        label_smoothing: float = 0.0,
        dropout: float | Sequence[float] = 0.0,
        dtype: str | None = None,
        n_threads: int | None = None,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.max_time = max_time
        self.scoring = scoring
        self.class_weight = class_weight
        self.weight_decay = weight_decay
        self.max_grad_norm = max_grad_norm
        self.label_smoothing = label_smoothing
        self.dropout = dropout
        self.dtype = dtype
        self.n_threads = n_threads

    @fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Table,
        y: Table,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: Table | None = None,
        y_val: Table | None = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self:
        """Train on X and y, from new parameters, or with `warm_start` from those of the last call.

        Callbacks of scikit-learn (1.9 and newer), given by `set_callbacks`, are told of every epoch or iteration.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Without `dtype`, float32 and float64 are computed in their own precision, anything else in float64. CSR
            stays sparse, CSC is turned into CSR. Never changed, nor copied as a whole.
        y : array-like of shape (n_samples,) or {array, sparse matrix} of shape (n_samples, n_outputs)
            Two labels of any kind, or an indicator matrix.
        sample_weight : array-like of shape (n_samples,), default=None
            Multiplies each row's loss; not negative, not all zero. A batch whose weights are all zero is
            passed over.
        X_val, y_val : as X and y, of shapes (n_val, n_features) and (n_val,) or (n_val, n_outputs), default=None
            Rows to watch `scoring` and the loss on after each epoch, rather than a part of X; not trained on. Without
            `early_stopping` they are only noted. In a Pipeline, `transform_input=["X_val"]` transforms them as X.
        sample_weight_val : array-like of shape (n_val,), default=None
            Weights of these rows.

        Returns
        -------
        self : BCEMLPClassifier
        """
        validation = (X_val, y_val, sample_weight_val)
        with draft_of(self) as draft:
            continues = draft.warm_start and draft.__sklearn_is_fitted__()
            end = draft._fit(X, y, sample_weight, validation, continues, watched_as=self)
        end.tell_callbacks()
        self._tell_of(end)
        return self

    @available_if(_has_stochastic_solver)
    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: Table, y: Table, sample_weight: ArrayLike | None = None, classes: ArrayLike | None = None
    ) -> Self:
        """Train for one epoch on X and y, going on from the last call, moments included. Callbacks are not called.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`; y may lack one of the classes.
        classes : array-like of shape (2,) or (n_outputs,), default=None
            All labels (for an indicator matrix, its columns' numbers); needed in the first call.

        Returns
        -------
        self : BCEMLPClassifier
        """
        self._validate_params()  # scikit-learn does so before the first call only
        if self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        with draft_of(self) as draft:
            with about("classes"):
                _check_partial_fit_first_call(draft, classes)
            draft._tell_of_the_schedules_end()
            end = draft._fit(X, y, sample_weight, continues=draft.__sklearn_is_fitted__(), incremental=True)
        self._tell_of(end)
        return self

    def decision_function(self, X: Table) -> NDArray[np.floating]:
        """Logits: log(p / (1 - p)) of the second class, or of each output.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        Z : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            In the model's precision; positive where `predict` says the second class.
        """
        model = snapshot(self)
        Z = model._logits(X)
        return Z.ravel() if model.n_outputs_ == 1 else Z

    def predict(self, X: Table) -> NDArray[Any] | sp.csr_matrix:
        """Labels.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        y : ndarray of shape (n_samples,), or {ndarray, CSR matrix} of shape (n_samples, n_outputs)
            For a multilabel target 0 and 1, sparse where the target of fit was.
        """
        model = snapshot(self)
        positive = model._logits(X) > 0
        if not model._multilabel:
            return model.classes_[positive.ravel().astype(np.intp)]
        indicator = positive.astype(np.int64)
        return sp.csr_matrix(indicator) if model._sparse_targets else indicator

    def predict_proba(self, X: Table) -> NDArray[np.floating]:
        """Probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        Y_hat : ndarray of shape (n_samples, 2) or (n_samples, n_outputs)
            Of both classes; for a multilabel target, of 1 in each column. In the model's precision, and
            strictly between 0 and 1: where one would round to either, its neighbour.
        """
        model = snapshot(self)
        Z = model._logits(X)
        if not model._multilabel:
            return class_probabilities(Z)
        doors.probabilities(Z)
        return Z

    def predict_log_proba(self, X: Table) -> NDArray[np.floating]:
        """Logarithms of the probabilities, from the logits: finite where the probability rounds to 0.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        log_Y_hat : ndarray of shape (n_samples, 2) or (n_samples, n_outputs)
            In nats, in the columns of `predict_proba`.
        """
        model = snapshot(self)
        Z = model._logits(X)
        if not model._multilabel:
            Z = np.column_stack((-Z, Z))
        doors.elementwise("log_sigmoid", Z.reshape(-1))
        return Z

    def input_gradient(self, X: ArrayLike, output: int = 0) -> NDArray[np.floating]:
        """Derivatives of each row's logit in that row's features: how `decision_function` changes with X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Dense.
        output : int, default=0
            The column of a multilabel target.

        Returns
        -------
        dX : ndarray of shape (n_samples, n_features)
            In the model's precision.

        Raises
        ------
        ValueError
            For a sparse X, for an `output` that is not a column of the target, and as `predict` for bad input.

        Examples
        --------
        >>> from skbce import BCEMLPClassifier
        >>> clf = BCEMLPClassifier((), solver="lbfgs").fit([[0.0, 1.0], [1.0, 1.0]], [0, 1])
        >>> bool(abs(clf.input_gradient([[0.5, 1.0]]) - clf.coefs_[0].T).max() == 0)  # of a logistic regression
        True
        """
        check_is_fitted(self)
        model = snapshot(self)
        with state_of(model):
            count("n_outputs_", model.n_outputs_)
        if isinstance(output, bool) or not (isinstance(output, Integral) and 0 <= output < model.n_outputs_):
            raise ValueError(f"output must be an integer from 0 to {model.n_outputs_ - 1}, got {output!r}.")
        layout, theta = model._network()
        model._require_finite(theta)
        X = model._validated_rows(X, theta.dtype)
        if sp.issparse(X):
            raise ValueError("input_gradient needs a dense X, for the derivatives are dense; X is sparse: X.toarray().")
        dX = np.empty(X.shape, theta.dtype)
        with working(2 * len(dX) * layout.n_parameters >= _BLAS_STAYS_ALONE) as work, work:
            fill_input_gradients(layout, theta, kernel_table(X, theta.dtype), int(output), dX, self.n_threads)
        if not is_finite(dX):
            raise ValueError(f"input_gradient overflows {theta.dtype} for the rows of X.")
        return dX

    def score(self, X: Table, y: Table, sample_weight: ArrayLike | None = None) -> float:
        """Accuracy: the share of rows, by weight, that are predicted right in all outputs.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        score : float
        """
        return accuracy(y, self.predict(X), sample_weight)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "coefs_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.classifier_tags.multi_class = False
        tags.classifier_tags.multi_label = True
        return tags

    def __getstate__(self):
        return {**super().__getstate__(), "_skbce_version": __version__}

    def __setstate__(self, state):
        state = dict(state)
        version = state.pop("_skbce_version", "unknown")
        if version != __version__:
            warnings.warn(
                f"This {type(self).__name__} was pickled by skbce {version} and is read by {__version__}; "
                "results may differ. Fit it again, or read it with the version that wrote it.",
                UserWarning,
                stacklevel=2,
            )
        names = set(self._get_param_names())
        if version == __version__:
            with state_of(self):
                require(names <= set(state), f"the parameters {sorted(names - set(state))} are missing")
        else:
            state = {**type(self)().get_params(deep=False), **state}  # those that the other version did not have
        super().__setstate__(state)
        if self.__sklearn_is_fitted__():
            # One vector again, so that prediction need not gather it each time. A copy that is taken in fit may have
            # the n_features_in_ of the model to come.
            with state_of(self):
                layout = self._layout_of((*map(len, self.coefs_), self.n_outputs_))
                own, precision = (
                    getattr(self.coefs_[0], "dtype", None),
                    layout.shared(self.coefs_, self.intercepts_).dtype,
                )
                # The dtype that came with the arrays, and that the moments share: a pickle writes it once.
                dtype = own if own == precision else precision
                self.coefs_, self.intercepts_ = layout.views(layout.flat(self.coefs_, self.intercepts_, dtype))

    def _fit(
        self,
        X,
        y,
        sample_weight,
        validation=(None, None, None),
        continues=False,
        incremental=False,
        split=None,
        observer=None,
        watched_as=None,
    ) -> "_End":
        """Validate, train and set the attributes.

        `split` has the row numbers to train on and to validate on, where they are not to be drawn, and the end then has
        the logits of the latter; `observer` looks on where no callbacks do, and `watched_as` is the estimator that
        these are told of.
        """  # fmt: skip
        self._check_combinations(validation)
        dtype = self._precision(continues)
        given_X = X
        X, y, sample_weight = validated(self, X, y, sample_weight, dtype, reset=not continues)
        Y, labels = encoded(self, y, continues, incremental)
        sample_weight = self._with_class_weight(sample_weight, Y, labels, incremental)
        layout = Layout(self._layer_units(X.shape[1], Y.shape[1]), self.activation, sp.issparse(X), self.dropout)
        random_state = check_random_state(self.random_state)
        if continues:
            self._check_same_layers(layout)
            theta = self._converted_theta(layout, dtype)
        else:
            theta = layout.initial(random_state, dtype or X.dtype)
        weight = converted_weight(sample_weight, theta.dtype)
        sample = Sample(kernel_table(X, theta.dtype), Y, weight, smoothing=self.label_smoothing)
        history = self._history(continues)
        held_out = None
        if self.solver != "lbfgs":
            held_out = self._held_out(X, sample, validation, split, layout, labels, theta.dtype, random_state)
        if held_out is None:
            history.validation_scores = history.validation_loss_curve = None
        tasks = None
        if watched_as is not None and hasattr(self, "_skl_callbacks"):
            tasks = self._tasks(watched_as, given_X, y, sample_weight, layout, labels)
        with working() as work, work:
            if self.solver == "lbfgs":
                cost = CostFunction(layout, sample, self.alpha, theta.dtype, thread_limit(self.n_threads))
                end = self._fit_lbfgs(cost, sample.n_rows, layout, theta, history, labels, tasks or observer)
            else:
                end = self._fit_stochastic(
                    layout, sample, theta, history, labels, random_state, incremental, held_out, tasks or observer
                )
        if tasks is not None:
            end.tell_callbacks = lambda: tasks.fit_ends(theta, history)
        if split is not None:
            end.best_logits, end.unseen_logits = held_out.best_logits, held_out.unseen_logits
        return end

    def _tell_of(self, end: "_End") -> None:
        """Say why training ended, where the user should know."""
        outcome = end.outcome
        ends_as_planned = callable(self.learning_rate) or self.learning_rate in SCHEDULES
        # A constant prediction has 0.69 an output at most.
        is_lost = self.loss_ > _LOST * self.n_outputs_
        advice = (
            f"The loss is {self.loss_:.3g}, worse than that of any constant prediction: scale X (StandardScaler), or "
            "lower learning_rate_init or alpha."
        )
        if outcome is Outcome.MAX_ITER and (end.message or not ends_as_planned):
            message = end.message or self._max_iter_message()
            warnings.warn(f"{message} {advice}" if is_lost else message, ConvergenceWarning, stacklevel=4)
        elif is_lost and outcome in (Outcome.CONVERGED, Outcome.EPOCH_DONE, Outcome.MAX_ITER):
            warnings.warn(advice, ConvergenceWarning, stacklevel=4)
        if outcome is Outcome.INTERRUPTED:
            warnings.warn("Training interrupted by user.", stacklevel=4)
        if outcome is Outcome.TIME_OVER:
            warnings.warn(
                f"max_time={self.max_time:g} seconds ended training after {self.n_iter_} epoch(s), before it "
                "converged. Raise max_time, or lower max_iter or the size of the network.",
                ConvergenceWarning,
                stacklevel=4,
            )
        if outcome is Outcome.DIVERGED:
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large values and need to "
                "be preprocessed (StandardScaler), or learning_rate_init may be too large. The last finite "
                "model is kept."
            )

    def _tell_of_the_schedules_end(self) -> None:
        """Say once that partial_fit has come to the end of a schedule, and trains no more."""
        follows_one = callable(self.learning_rate) or self.learning_rate in SCHEDULES
        if not follows_one or not hasattr(self, "loss_curve_"):
            return
        with state_of(self):
            n_epochs = len(numbers("loss_curve_", self.loss_curve_))
        if n_epochs != self.max_iter:
            return
        if factors(self.learning_rate, self.max_iter, 1, self.max_iter)[0] == 0:
            warnings.warn(
                f"learning_rate={self.learning_rate!r} has come to its end after max_iter={self.max_iter} epochs, and "
                "partial_fit trains at a rate of 0 from now on. Raise max_iter, or set learning_rate='constant'.",
                stacklevel=5,
            )

    def _max_iter_message(self) -> str:
        return (
            f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization hasn't "
            "converged yet."
        )

    def _check_combinations(self, validation) -> None:
        """Say so where parameters, each right by itself, mean nothing together."""
        X_val, y_val, sample_weight_val = validation
        if (X_val is None) != (y_val is None):
            given, missing = ("y_val", "X_val") if X_val is None else ("X_val", "y_val")
            raise ValueError(f"{given} is given without {missing}.")
        if sample_weight_val is not None and X_val is None:
            raise ValueError("sample_weight_val is given without X_val and y_val.")
        if self.solver != "lbfgs":
            return
        meaningless = {
            "X_val": X_val is not None,
            f"weight_decay={self.weight_decay}": self.weight_decay > 0,
            f"max_grad_norm={self.max_grad_norm}": self.max_grad_norm is not None,
            f"dropout={self.dropout!r}": np.any(np.asarray(self.dropout, dtype=object) != 0),
            f"learning_rate={self.learning_rate!r}": callable(self.learning_rate) or self.learning_rate in SCHEDULES,
        }
        for name, is_set in meaningless.items():
            if is_set:
                raise ValueError(f"{name} needs a solver that goes batch by batch ('sgd' or 'adam'), not 'lbfgs'.")

    def _with_class_weight(self, sample_weight, Y: np.ndarray, labels: dict, incremental: bool) -> np.ndarray | None:
        """sample_weight times the weight of each row's class."""
        if self.class_weight is None:
            return sample_weight
        if incremental and self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' needs all rows at once, and partial_fit sees a part. Give a dict, from "
                "sklearn.utils.class_weight.compute_class_weight on all labels."
            )
        multilabel = labels["_multilabel"]
        names = (0, 1) if multilabel else labels["classes_"].tolist()
        weight = row_weights(self.class_weight, Y, names, multilabel, sample_weight)
        if not weight.any():
            raise ValueError(f"class_weight={self.class_weight!r} leaves no row a weight above zero.")
        return weight

    def _tasks(self, estimator, X, y, sample_weight, layout: Layout, labels: dict) -> EpochTasks:
        """Who tells scikit-learn's callbacks of the epochs.

        X is that of the user: with its feature names, a callback may predict it without a warning.
        """
        # The estimator may be fitted to other columns. scikit-learn takes None for no names.
        columns = {"feature_names_in_": None} if hasattr(estimator, "feature_names_in_") else {}
        columns |= {name: vars(self)[name] for name in _OF_COLUMNS if name in vars(self)}
        return EpochTasks(
            estimator,
            "iteration" if self.solver == "lbfgs" else "epoch",
            lambda theta, history: columns | self._attributes(layout, theta, labels, history),
            X=X,
            y=y,
            metadata=None if sample_weight is None else {"sample_weight": sample_weight},
        )

    def _precision(self, continues: bool) -> np.dtype | None:
        """What fit computes in: `dtype`, or the precision of the model to go on with; None follows X."""
        if self.dtype is not None:
            return np.dtype(self.dtype)
        return self._network()[1].dtype if continues else None

    def _converted_theta(self, layout: Layout, dtype: np.dtype) -> np.ndarray:
        """A copy of the model's parameters, to go on with in a precision that must hold them."""
        own = self._network()[1]
        self._require_finite(own)
        with np.errstate(over="ignore"):
            theta = layout.flat(*layout.views(own), dtype)
        if not np.isfinite(theta).all():
            raise ValueError(f"The parameters of the model to go on with are too large for dtype={self.dtype!r}.")
        return theta

    def _layer_units(self, n_features: int, n_outputs: int) -> list[int]:
        sizes = self.hidden_layer_sizes
        sizes = list(sizes) if np.iterable(sizes) else [sizes]
        if not all(isinstance(size, Integral) and not isinstance(size, bool) and size > 0 for size in sizes):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        if max(sizes, default=0) > _MOST_UNITS:
            raise ValueError(f"hidden_layer_sizes must be at most {_MOST_UNITS}, as far as BLAS counts; got {sizes}.")
        return [n_features, *sizes, n_outputs]

    def _check_same_layers(self, layout: Layout) -> None:
        units = self._network()[0].units
        if layout.units != units:
            raise ValueError(
                f"hidden_layer_sizes={self.hidden_layer_sizes} gives layers of {layout.units} units, and the network "
                f"to go on with has {units}. Set them back, or fit with warm_start=False."
            )

    def _layout(self, sparse: bool = False) -> Layout:
        """The layout of the fitted network."""
        return self._layout_of((self.n_features_in_, *(len(W) for W in self.coefs_[1:]), self.n_outputs_), sparse)

    def _layout_of(self, units: tuple[int, ...], sparse: bool = False) -> Layout:
        # The one that the network was trained with; set_params may have set another for the next fit.
        names = vars(self).get("_activation", self.activation)
        if not isinstance(names, str):
            names = known_activations(names, len(units) - 2)  # a tuple: layouts are looked up by them
        return known_layout(units, names, sparse)

    def _settings(self) -> Settings:
        return Settings(**{entry.name: getattr(self, entry.name) for entry in fields(Settings)})

    def _history(self, continues: bool) -> History:
        if not (continues and hasattr(self, "loss_curve_")):
            return History()
        with state_of(self):
            return self._continued_history()

    def _continued_history(self) -> History:
        # A score of another kind is no measure of those to come.
        stopped_early = (
            self.early_stopping and self.best_validation_score_ is not None and self._scored_by == self.scoring
        )
        best = self.best_iteration_ if stopped_early else None
        return History(
            loss_curve=numbers("loss_curve_", self.loss_curve_),
            learning_rate_curve=numbers("learning_rate_curve_", self.learning_rate_curve_),
            loss=number("loss_", self.loss_),
            best_loss=np.inf if self.best_loss_ is None else number("best_loss_", self.best_loss_),
            validation_scores=[]
            if self.validation_scores_ is None
            else numbers("validation_scores_", self.validation_scores_),
            validation_loss_curve=[]
            if self.validation_loss_curve_ is None
            else numbers("validation_loss_curve_", self.validation_loss_curve_),
            best_validation_score=number("best_validation_score_", self.best_validation_score_)
            if stopped_early
            else -np.inf,
            best_iteration=None if best is None else count("best_iteration_", best),
            no_improvement_count=count("_no_improvement_count", self._no_improvement_count),
            n_samples_seen=count("t_", self.t_),
        )

    def _held_out(self, X, sample, validation, split, layout, labels, dtype, random_state) -> HeldOut | None:
        """The rows to watch while training: those given, or a part of the sample, which then trains on the rest."""
        if validation[0] is not None:
            X_val, watched = self._validation_sample(*validation, sample.Y.shape[1], labels, dtype)
            layout = Layout(layout.units, self.activation, sp.issparse(X_val))
        elif self.early_stopping:
            X_val = X
            sample.order, held_out = split or self._split(sample, labels, random_state)
            watched = Sample(sample.table, sample.Y, sample.weight, held_out)
        else:
            return None
        metric = {None: "accuracy", "loss": "loss"}.get(self.scoring) if not callable(self.scoring) else None
        if metric is None:
            metric = self._metric(X_val, watched, layout, labels)
        return HeldOut(layout, watched, dtype, thread_limit(self.n_threads), metric, keeps_logits=split is not None)

    def _metric(self, X, watched: Sample, layout: Layout, labels: dict) -> Callable[[np.ndarray], float]:
        """`scoring` on the watched rows, as a function of theta."""
        scorer = check_scoring(self, scoring=self.scoring)
        rows = slice(None) if watched.order is None else watched.order
        X = (X.tocsr() if sp.issparse(X) else X)[rows]
        Y = watched.Y[rows]
        y = Y.astype(np.int64) if labels["_multilabel"] else labels["classes_"][Y.ravel()]
        weighted = watched.weight is not None and _takes_sample_weight(scorer)
        weight = {"sample_weight": watched.weight[rows]} if weighted else {}
        judged = snapshot(self)
        vars(judged).pop("feature_names_in_", None)  # X is an array by now

        def metric(theta: np.ndarray) -> float:
            vars(judged).update(self._attributes(layout, theta, labels, History()))
            try:
                score = scorer(judged, X, y, **weight)
            except Exception as error:
                error.add_note(f"This was scoring={self.scoring!r} on the validation rows.")
                raise
            if not (isinstance(score, Real) and np.isfinite(score)):
                raise ValueError(
                    f"scoring={self.scoring!r} gave {score!r} on the validation rows, not a finite number."
                )
            return float(score)

        return metric

    def _validation_sample(self, X_val, y_val, sample_weight_val, n_outputs: int, labels: dict, dtype):
        """X_val as an array, and the sample that it is, checked against what training knows."""
        try:
            X_val, y_val, weight = validated(self, X_val, y_val, sample_weight_val, dtype, reset=False)
            table, weight = kernel_table(X_val, dtype), converted_weight(weight, dtype)
        except ValueError as error:
            raise ValueError(f"X_val, y_val, sample_weight_val: {error}") from error
        Y = validation_targets(y_val, n_outputs, labels)
        return X_val, Sample(table, Y, weight)

    def _fit_stochastic(
        self, layout, sample, theta, history, labels, random_state, incremental, held_out, observer
    ) -> "_End":
        settings = self._settings()
        # Without dropout nothing is drawn: the rows are shuffled as if there were none.
        dropout_seed = 0 if layout.dropout is None else int(random_state.randint(2**63 - 1, dtype=np.int64))
        training = StochasticTraining(
            layout,
            sample,
            theta,
            self._optimizer(settings, theta, incremental),
            settings,
            history,
            self._batch_rows(sample.n_rows),
            random_state,
            thread_limit(self.n_threads),
            held_out,
            observer,
            dropout_seed,
        )
        return self._fit_epochs(training, layout, labels, incremental)

    def _fit_epochs(self, training: EpochTraining, layout, labels, incremental=False) -> "_End":
        outcome, history = training.run(one_epoch=incremental), training.history
        vars(self).update(
            self._attributes(layout, training.theta, labels, history),
            _scored_by=self.scoring,
            _no_improvement_count=history.no_improvement_count,
        )
        # Ctrl-C leaves the steps of its run uncounted, and Adam's moments mean nothing without their count.
        stopped_within = outcome in (Outcome.DIVERGED, Outcome.INTERRUPTED)
        self._keep_optimizer(None if stopped_within else training.optimizer)
        return _End(outcome)

    def _fit_lbfgs(self, cost_and_gradient, n_rows, layout, theta, history, labels, observer=None) -> "_End":
        outcome, message = minimize_lbfgs(cost_and_gradient, n_rows, theta, self._settings(), history, observer)
        for name in self._epoch_attributes(history):
            vars(self).pop(name, None)  # of a stochastic solver before
        vars(self).update(self._attributes(layout, theta, labels, history))
        self._keep_optimizer(None)
        message = (
            f"lbfgs failed to converge after {self.n_iter_} iteration(s): {message}. Increase max_iter "
            f"({self.max_iter}) or max_fun ({self.max_fun}), or scale the data (StandardScaler)."
        )
        return _End(outcome, message)

    def _attributes(self, layout: Layout, theta: np.ndarray, labels: dict, history: History) -> dict[str, Any]:
        """What makes an estimator a fitted one."""
        W, b = layout.views(theta)
        attributes = {
            **labels,
            "_activation": self.activation if isinstance(self.activation, str) else layout.activations,
            "coefs_": W,
            "intercepts_": b,
            "n_layers_": len(layout.units),
            "n_outputs_": layout.units[-1],
            "out_activation_": "logistic",
            "n_iter_": history.n_epochs,
            "t_": history.n_samples_seen,
            "loss_": history.loss,
        }
        return attributes if self.solver == "lbfgs" else attributes | self._epoch_attributes(history)

    def _epoch_attributes(self, history: History) -> dict[str, Any]:
        """What a stochastic solver tells of its epochs."""
        return {
            "loss_curve_": history.loss_curve,
            "learning_rate_curve_": history.learning_rate_curve,
            "best_loss_": None if self.early_stopping else history.best_loss,
            "validation_scores_": history.validation_scores,
            "validation_loss_curve_": history.validation_loss_curve,
            "best_validation_score_": history.best_validation_score if self.early_stopping else None,
            "best_iteration_": history.best_iteration if self.early_stopping else None,
        }

    def _optimizer(self, settings: Settings, theta: np.ndarray, incremental: bool) -> Optimizer:
        """partial_fit goes on with the moments it finds, where they are this solver's; fit starts new ones."""
        optimizer = Optimizer.new(settings, theta.size, theta.dtype)
        kept = getattr(self, "_moments", [])
        if not incremental:
            return optimizer
        with state_of(self):
            require(isinstance(kept, list), "_moments is no list")
            if len(kept) == len(optimizer.moments):
                goes_on = optimizer.take_over(kept, count("_n_steps", self._n_steps))
                if number("_learning_rate_from", self._learning_rate_from) == self.learning_rate_init:
                    optimizer.learning_rate = number("_learning_rate", self._learning_rate)
                    require(0 <= optimizer.learning_rate < np.inf, "_learning_rate is no rate")
            else:
                goes_on = True
        if not goes_on:
            warnings.warn(
                f"The moments of {self.solver} to go on with are too large for {theta.dtype}; they start anew.",
                stacklevel=6,
            )
        return optimizer

    def _keep_optimizer(self, optimizer: Optimizer | None) -> None:
        """Keep what partial_fit goes on with; nothing where it cannot."""
        kept = optimizer is not None and not self.early_stopping
        self._moments = optimizer.moments if kept else []
        self._n_steps = optimizer.n_steps if kept else 0
        self._learning_rate = optimizer.learning_rate if kept else float(self.learning_rate_init)
        self._learning_rate_from = self.learning_rate_init

    def _batch_rows(self, n_rows: int) -> int:
        if self.batch_size == "auto":
            return min(200, n_rows)
        if self.batch_size > n_rows:
            warnings.warn(
                f"Got `batch_size` less than 1 or larger than sample size. It is going to be clipped to {n_rows}.",
                stacklevel=6,
            )
        return min(self.batch_size, n_rows)

    def _split(self, sample: Sample, labels: dict, random_state) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers to train on and to validate on, drawn as scikit-learn draws them."""
        row_ids = np.arange(sample.n_rows, dtype=np.int64)
        stratify = sample.Y.ravel() if sample.Y.shape[1] == 1 else None
        try:
            train, held_out = train_test_split(
                row_ids, test_size=self.validation_fraction, random_state=random_state, stratify=stratify
            )
        except ValueError as error:
            raise ValueError(f"validation_fraction={self.validation_fraction}: {error}") from error
        if len(held_out) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        if not labels["_multilabel"]:
            advice = "Raise validation_fraction, or give X_val and y_val with rows of both classes."
            check_both_classes("The validation set of early_stopping has", sample.Y[held_out], labels, advice)
        for name, rows in (("training", train), ("validation", held_out)):
            if sample.weight is not None and not sample.weight[rows].any():
                raise ValueError(f"sample_weight is zero for every row of the {name} set of early_stopping.")
        return train, held_out

    def _logits(self, X) -> np.ndarray:
        """Z_L of shape (n_samples, n_outputs), in the model's precision."""
        if not self.__sklearn_is_fitted__():
            check_is_fitted(self)  # which takes a tenth of the time of predicting a row to say that it is
        layout, theta = self._network(sp.issparse(X))
        rows = X if self._needs_no_validation(X) else self._validated_rows(X, theta.dtype)
        Z = np.empty((rows.shape[0], layout.units[-1]), theta.dtype)
        table = kernel_table(rows, theta.dtype)
        has_work = len(Z) * layout.n_parameters >= _BLAS_STAYS_ALONE
        with working(has_work, layout.network.forward_calls_blas(theta.itemsize)) as work, work:
            theta_is_finite, Z_is_finite = fill_logits(layout, theta, table, None, Z, self.n_threads)
        if not (theta_is_finite and Z_is_finite):
            self._validated_rows(X, theta.dtype)
            self._require_finite(theta)
            raise ValueError(f"X holds numbers so large that the network's sums overflow {theta.dtype}.")
        return Z

    def _network(self, sparse: bool = False) -> tuple[Layout, np.ndarray]:
        """The fitted network's layout and theta, after a look that they are a network (of numbers that may be NaN)."""
        try:  # what state_of does, which takes a microsecond
            layout = self._layout(sparse)
            theta = layout.shared(self.coefs_, self.intercepts_)
            multilabel = flag("_multilabel", self._multilabel)
            if not multilabel and layout.units[-1] != 1:
                raise ValueError(f"n_outputs_={layout.units[-1]} with a binary target")
            check_labels("classes_", self.classes_, layout.units[-1] if multilabel else 2)
            flag("_sparse_targets", self._sparse_targets)
        except STATE_ERRORS as error:
            raise state_error(self, error) from error
        return layout, theta

    def _require_finite(self, theta: np.ndarray) -> None:
        with state_of(self):
            require(is_finite(theta), "coefs_ or intercepts_ contain NaN or infinity.")

    def _validated_rows(self, X, dtype):
        with conversion(), about("X"):
            refuse_unreadable("X", X)
            return validate_data(self, X, accept_sparse=["csr", "csc"], dtype=accepted_dtypes(dtype), reset=False)

    def _needs_no_validation(self, X) -> bool:
        """Whether scikit-learn's validation, which takes most of the time of a few rows, would return X as it is.

        But for rows that are not finite: their logits are not either, and tell.
        """
        return (
            type(X) is np.ndarray
            and X.ndim == 2
            and X.dtype in (np.float32, np.float64)
            and X.shape[0] > 0
            and X.shape[1] == self.n_features_in_
            and not hasattr(self, "feature_names_in_")
        )

    def _cost_problem(self, X, y, sample_weight, dtype=None) -> tuple[CostFunction, Layout, np.ndarray]:
        """Cost function, layout and theta of this network on X and y: fitted, or initialised as fit would."""
        fitted = self.__sklearn_is_fitted__()
        dtype = dtype or (self.coefs_[0].dtype if fitted else self._precision(continues=False))
        X, y, sample_weight = validated(self, X, y, sample_weight, dtype, reset=not fitted)
        Y, labels_of_y = encoded(self, y, continues=fitted, incremental=fitted)
        sample_weight = self._with_class_weight(sample_weight, Y, labels_of_y, incremental=False)
        if fitted:
            layout = self._layout(sp.issparse(X))
            theta = layout.flat(self.coefs_, self.intercepts_, dtype)
        else:
            layout = Layout(self._layer_units(X.shape[1], Y.shape[1]), self.activation, sp.issparse(X))
            theta = layout.initial(check_random_state(self.random_state), dtype or X.dtype)
        weight = converted_weight(sample_weight, theta.dtype)
        sample = Sample(kernel_table(X, theta.dtype), Y, weight, smoothing=self.label_smoothing)
        cost = CostFunction(layout, sample, self.alpha, theta.dtype, thread_limit(self.n_threads))
        return cost, layout, theta


@dataclass
class _End:
    """How a training ended, what to say where it was too soon, and what is left to do once the model is there."""

    outcome: Outcome
    message: str = ""
    tell_callbacks: Callable[[], None] = lambda: None
    best_logits: np.ndarray | None = None
    unseen_logits: np.ndarray | None = None


def _takes_sample_weight(scorer: Callable[..., float]) -> bool:
    """Whether the scorer, or the metric that scikit-learn made it of, knows weights."""
    try:
        parameters = inspect.signature(getattr(scorer, "_score_func", scorer)).parameters.values()
    except ValueError:  # something built in, without a signature
        return False
    return any(one.name == "sample_weight" or one.kind is one.VAR_KEYWORD for one in parameters)
