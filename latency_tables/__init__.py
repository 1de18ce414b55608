"""What a part of a network costs on a device: settings, parts, measurements, tables and predictions.

The ground floor of the house: it imports no other package of lathe and needs no deep-learning framework.
"""
