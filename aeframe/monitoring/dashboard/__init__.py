"""Dashboard: pictures, histograms and texts for TensorBoard."""

from aeframe.monitoring.dashboard.chart import Chart
from aeframe.monitoring.dashboard.picture import Picture
from aeframe.monitoring.dashboard.sheet import Row, draw_sheet
from aeframe.monitoring.dashboard.view import View

__all__ = ["Chart", "Picture", "Row", "View", "draw_sheet"]
