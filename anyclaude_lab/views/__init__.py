"""View models and escaped HTML shared by reprs, report, dashboard and widgets. Pure."""
