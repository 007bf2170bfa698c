"""One static HTML page about a run, with pictures: a `data.ReportData`, written by `build.build_report`."""
