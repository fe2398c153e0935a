"""The public names, for type checkers: at run time each is imported when it is first used."""

from .bmi import DeltaModelBmi as DeltaModelBmi
from .bmi import bundle_component as bundle_component
from .model.bundle import Bundle as Bundle
from .model.delta_model import DeltaModel as DeltaModel
from .model.normalisation import FeatureStatistics as FeatureStatistics
from .model.roles import ParameterRole as ParameterRole
from .model.routed_model import RoutedModel as RoutedModel
from .noaa_lstm_bmi import NoaaLstmBmi as NoaaLstmBmi
from .routing_bmi import RoutingBmi as RoutingBmi
from .routing_bmi import routing_model as routing_model

__version__: str
