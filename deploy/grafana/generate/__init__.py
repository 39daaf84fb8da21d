"""Grafana dashboards as typed Python; `python -m deploy.grafana.generate` writes them as JSON.

Of the whole project only this package imports grafana-foundation-sdk.
"""
