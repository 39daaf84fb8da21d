"""Evaluations of labelled data sets that are kept, so that none is done twice."""
