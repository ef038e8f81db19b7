def case_figures(layout, case_id, data, partition):
    return {}
