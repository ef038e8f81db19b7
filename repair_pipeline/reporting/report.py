def render_report(layout, case_id, data, partition):
    return "stub"
